"""python healthcheck.py URL: the image has neither curl nor wget."""

import sys
import urllib.request

try:
    urllib.request.urlopen(sys.argv[1], timeout=3)
except OSError as error:
    sys.exit(str(error))
