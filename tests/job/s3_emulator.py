"""S3 on an address and a port, for those who name one of the access keys: s3_emulator.py ADDRESS PORT KEY…

Run by a Python that has what s3-emulator.txt names. No signature is checked.
"""

import re
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

address, port, *keys = sys.argv[1:]
backend = DomainDispatcherApplication(create_backend_app)


def known_only(environ, start_response):
    """403 without one of the keys, as Amazon answers."""
    named = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    known = named and named[1] in keys
    answer = backend if known else Response("<Error><Code>InvalidAccessKeyId</Code></Error>", 403)
    return answer(environ, start_response)


run_simple(address, int(port), known_only, threaded=True)
