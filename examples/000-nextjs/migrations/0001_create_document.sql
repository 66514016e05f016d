CREATE TABLE document (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ingested_at timestamptz,
    ingested_by text
);

CREATE INDEX document_to_ingest ON document (id) WHERE ingested_at IS NULL;
