"""`python -m services.ingest`."""

from services.ingest.app import create_app
from services.ingest.settings import Settings
from shared.serve import serve

if __name__ == "__main__":
    serve(Settings, create_app)
