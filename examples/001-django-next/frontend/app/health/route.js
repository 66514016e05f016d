import { readFile } from 'node:fs/promises';

export const dynamic = 'force-dynamic';

export async function GET() {
  return Response.json({ status: 'ok', release: (await readFile('RELEASE', 'utf8')).trim() });
}
