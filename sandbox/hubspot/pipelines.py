"""Deal pipelines and their stages."""

from typing import Any

from sandbox.hubspot.object_types import DEALS
from sandbox.hubspot.schema import Schema
from sandbox.hubspot.store import Store
from sandbox.hubspot.wire import stamp

_OPENED_MS = 1_577_836_800_000
_SALES_STAGES = (
    ("appointmentscheduled", "Appointment Scheduled", "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", "0.4"),
    ("presentationscheduled", "Presentation Scheduled", "0.6"),
    ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
    ("contractsent", "Contract Sent", "0.9"),
    ("closedwon", "Closed Won", "1.0"),
    ("closedlost", "Closed Lost", "0.0"),
)


class Pipelines:
    """The pipelines of deals; the default sales pipeline exists in every account."""

    def __init__(self, store: Store, schema: Schema) -> None:
        self._store = store
        self._schema = schema
        if store.documents.get("pipeline", "default") is None:
            with store.transaction():
                self.put("default", "Sales Pipeline", list(_SALES_STAGES))
        self._refresh()

    def put(self, pipeline_id: str, label: str, stages: list[tuple[str, str, str]]) -> None:
        """Create or replace a pipeline; stages are (id, label, probability), closed at "1.0" and "0.0"."""
        when = {"createdAt": stamp(_OPENED_MS), "updatedAt": stamp(_OPENED_MS), "archived": False}
        document = {
            "label": label,
            "displayOrder": len(self._store.documents.all("pipeline")),
            "id": pipeline_id,
            "stages": [
                {
                    "label": text,
                    "displayOrder": place,
                    "metadata": {"isClosed": "true" if float(chance) in (0, 1) else "false", "probability": chance},
                    "id": stage,
                    "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
                    **when,
                }
                for place, (stage, text, chance) in enumerate(stages)
            ],
            **when,
        }
        self._store.documents.put("pipeline", pipeline_id, document)
        self._refresh()

    def all(self) -> list[dict[str, Any]]:
        return sorted(
            self._store.documents.all("pipeline").values(), key=lambda document: int(document["displayOrder"])
        )

    def get(self, pipeline_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._store.documents.get("pipeline", pipeline_id)
        return found

    def stages(self) -> dict[str, tuple[str, bool, float]]:
        """Stage id to (pipeline id, closed, probability)."""
        return self._stages

    def _refresh(self) -> None:
        self._stages: dict[str, tuple[str, bool, float]] = {}
        labels: list[tuple[str, str]] = []
        pipelines = self.all()
        for pipeline in pipelines:
            for stage in pipeline["stages"]:
                metadata = stage["metadata"]
                closed = metadata["isClosed"] == "true"
                self._stages[stage["id"]] = (pipeline["id"], closed, float(metadata["probability"]))
                labels.append((stage["id"], stage["label"]))
        self._schema.set_options(DEALS, "pipeline", [(p["id"], p["label"]) for p in pipelines])
        self._schema.set_options(DEALS, "dealstage", labels)
