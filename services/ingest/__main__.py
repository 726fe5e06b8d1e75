"""`python -m services.ingest`."""

import gc

from services.ingest.app import create_app
from services.ingest.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    # Events are decoded and dropped by the thousand and form no cycles: look for those less often.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    serve(Settings, create_app)
