CREATE TABLE job (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    seconds     integer NOT NULL DEFAULT 0,
    priority    integer,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz,
    worker      text
);

CREATE INDEX job_to_do ON job (id) WHERE finished_at IS NULL;
