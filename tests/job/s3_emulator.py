"""S3 emulator for requests with one of the access keys: s3_emulator.py ADDRESS PORT KEY…

Needs a Python with the packages in s3-emulator.txt. Signatures are not checked.
"""

import re
import sys

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
from werkzeug.wrappers import Response

address, port, *keys = sys.argv[1:]
backend = DomainDispatcherApplication(create_backend_app)


def known_only(environ, start_response):
    """Answer 403 without one of the keys, like Amazon."""
    named = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    known = named and named[1] in keys
    answer = backend if known else Response("<Error><Code>InvalidAccessKeyId</Code></Error>", 403)
    return answer(environ, start_response)


run_simple(address, int(port), known_only, threaded=True)
