"""`python -m services.detect`."""

import sys

from services.detect.app import create_app
from services.detect.settings import Settings
from shared.serve import serve

# Correlations count in a thread beside the event loop, which is to get its turn soon (docs/
# performance.md has what it costs and what it gains).
SWITCH_SECONDS = 0.001

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_SECONDS)
    serve(Settings, create_app)
