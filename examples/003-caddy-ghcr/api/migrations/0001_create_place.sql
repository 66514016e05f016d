CREATE TABLE place (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    city       text NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
