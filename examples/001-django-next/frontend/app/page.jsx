export const dynamic = 'force-dynamic';

/** Asked on the server at run time: a NEXT_PUBLIC_ variable would be fixed when the image is built. */
async function tutors() {
  try {
    const response = await fetch(`${process.env.API_URL}/api/tutors/`, { signal: AbortSignal.timeout(3000) });
    return response.ok ? (await response.json()).tutors : null;
  } catch {
    return null;
  }
}

export default async function Page() {
  const found = await tutors();
  return (
    <main>
      <h1>Tutors</h1>
      {found ? (
        <ul>
          {found.map((tutor) => (
            <li key={tutor.id}>
              {tutor.name}: {tutor.subject}
            </li>
          ))}
        </ul>
      ) : (
        <p>The list is not available at the moment.</p>
      )}
    </main>
  );
}
