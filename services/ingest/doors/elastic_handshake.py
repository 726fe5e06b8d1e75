"""What Elasticsearch clients ask before they send: version, licence, health, templates, policies.

Beats 7.13 and later, and the official clients, refuse a server without the header
``X-Elastic-Product``; Beats ask for the licence, Vector for the cluster's health, Logstash for the
nodes. What would configure Elasticsearch (templates, lifecycle policies, pipelines) is acknowledged
and has no effect: Tocsin takes every event as it is.
"""

import orjson

from services.ingest.doors.elastic import PRODUCT, media_type
from services.ingest.doors.exchange import Answer, Request
from services.ingest.sources import Source

__all__ = ["PATHS", "handshake"]

NAME, UUID = "tocsin", "dG9jc2luLWluZ2VzdC0wMDAx"

# Path → what it is asked for; everything below the last ones is acknowledged.
PATHS = {
    "/": "version of the server",
    "/_license": "licence",
    "/_xpack": "features",
    "/_cluster/health": "cluster health",
    "/_cat/health": "cluster health",
    "/_nodes": "nodes",
    "/_nodes/{rest:path}": "nodes",
    "/_template/{rest:path}": "template, taken and without effect",
    "/_index_template/{rest:path}": "template, taken and without effect",
    "/_component_template/{rest:path}": "template, taken and without effect",
    "/_ilm/{rest:path}": "lifecycle policy, taken and without effect",
    "/_data_stream/{rest:path}": "data stream, taken and without effect",
    "/_ingest/{rest:path}": "pipeline, taken and without effect",
    "/_logstash/{rest:path}": "pipeline management: none",
}


def handshake(version: str, request: Request, _: Source | None, __: bytes) -> Answer:
    """Return what Elasticsearch *version* would say to *request*."""
    body = orjson.dumps(_body(version, request))
    return Answer(200, body, media_type(request), PRODUCT)


def _body(version: str, request: Request) -> dict[str, object]:
    if request.method in {"PUT", "POST", "DELETE"}:
        return {"acknowledged": True}
    match request.path.strip("/").split("/")[0]:
        case "":
            return {
                "name": NAME,
                "cluster_name": NAME,
                "cluster_uuid": UUID,
                "version": {
                    "number": version,
                    "build_flavor": "default",
                    "build_type": "tar",
                    "build_snapshot": False,
                    "lucene_version": "9.12.0",
                    "minimum_wire_compatibility_version": "7.17.0",
                    "minimum_index_compatibility_version": "7.0.0",
                },
                "tagline": "You Know, for Search",
            }
        case "_license":
            licence = {"status": "active", "uid": UUID, "type": "basic", "mode": "basic"}
            return {"license": licence}
        case "_xpack":
            features = {"ilm": {"available": True, "enabled": True}}
            return {"license": {"type": "basic", "status": "active"}, "features": features}
        case "_cluster" | "_cat":
            return {
                "cluster_name": NAME,
                "status": "green",
                "timed_out": False,
                "number_of_nodes": 1,
                "number_of_data_nodes": 1,
            }
        case "_nodes":
            nodes = {"total": 1, "successful": 1, "failed": 0}
            # No address: a client that "sniffs" must keep the one that it was given.
            return {"_nodes": nodes, "cluster_name": NAME, "nodes": {UUID: {"version": version}}}
        case _:
            return {}
