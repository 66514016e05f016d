/** `standalone` leaves a folder with server.js and exactly the modules that it needs: what the image holds. */
export default { output: 'standalone', poweredByHeader: false };
