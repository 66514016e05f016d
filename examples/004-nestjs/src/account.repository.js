/** The columns of the account table, in order: what the running release sees of the schema. */
export async function describe(pool) {
  const { rows } = await pool.query(
    `SELECT column_name FROM information_schema.columns WHERE table_name = 'account' ORDER BY ordinal_position`,
  );
  return rows.map((row) => row.column_name);
}
