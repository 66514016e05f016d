// node healthcheck.mjs URL: the image has neither curl nor wget.
const healthy = await fetch(process.argv[2]).then((response) => response.ok, () => false);
process.exit(healthy ? 0 : 1);
