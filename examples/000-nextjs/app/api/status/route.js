import { status } from '../../../lib/status.js';

export const dynamic = 'force-dynamic';

export async function GET() {
  return Response.json(await status());
}
