"""`python -m tests.engine.golden`: see the package."""

import json
import sys

from tests.engine.golden import accept, judged, record

if "--record" in sys.argv:
    record()
if {"--record", "--accept"} & set(sys.argv):
    accept()
print(json.dumps(judged()))
