// The container's first process: checks its environment, then becomes the server that `next build` left. Next.js itself
// stops listening at the first SIGTERM and lets requests that run finish.
import './lib/environment.mjs';

await import('./server.js');
