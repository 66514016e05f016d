import { status } from '../lib/status.js';

// Rendered for every request: what the database says, not what it said at build time.
export const dynamic = 'force-dynamic';

export default async function Page() {
  const { release, documents, ingested } = await status();
  return (
    <main>
      <h1>{release}</h1>
      <p>
        {ingested} of {documents} documents ingested
      </p>
    </main>
  );
}
