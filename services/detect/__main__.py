"""`python -m services.detect`."""

import sys

from services.detect.app import create_app
from services.detect.settings import Settings
from shared.serve import serve

# What works in threads beside the event loop (loading rules, say, or with no workers all that
# counts and evaluates) is to give it its turn soon.
SWITCH_SECONDS = 0.001

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    serve(Settings, create_app)
