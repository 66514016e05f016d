export const dynamic = 'force-dynamic';

// Without the database: a load balancer that took every task away because the database is slow would help nobody.
export function GET() {
  return Response.json({ status: 'ok' });
}
