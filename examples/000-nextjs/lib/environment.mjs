// A variable that is missing shall stop the release now, and not the first visitor who needs it.
import { readFileSync } from 'node:fs';

const names = readFileSync(new URL('../required-env', import.meta.url), 'utf8').split('\n').filter(Boolean);
const missing = names.find((name) => !process.env[name]);
if (missing) {
  console.error(`KeyError: ${missing}`);
  process.exit(1);
}
