#!/bin/sh
# Answers `/`: the release of this image, and the columns that it finds in the database.
body=$(psql -X -q -A -t -v ON_ERROR_STOP=1 -v release="$(cat /app/RELEASE)" "$DATABASE_URL" <<'SQL'
SELECT json_build_object('release', :'release'::text, 'columns', coalesce(json_agg(column_name ORDER BY ordinal_position), '[]'))
  FROM information_schema.columns WHERE table_name = 'account';
SQL
) && status='200 OK' || { status='500 Internal Server Error'; body='{"error":"internal error"}'; }
printf 'Status: %s\r\nContent-Type: application/json\r\n\r\n%s\n' "$status" "$body"
