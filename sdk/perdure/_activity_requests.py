"""The requests about standalone activities, as one client sees them in one namespace."""

from __future__ import annotations

from urllib.parse import quote

from perdure._cluster import Cluster
from perdure._query import LONG_POLL_SECONDS, query_of
from perdure._requests import Requests
from perdure_proto import service as svc
from perdure_proto.ids import activities_of


class ActivityRequests:
    """A method for each request, with its path, its body and its answer."""

    connection: Cluster
    namespace: str
    root: str

    def _to_activity(self, activity_id: str) -> Requests:
        return self.connection.about(activities_of(self.namespace), activity_id)

    def _activity(self, activity_id: str, *parts: str, **query: str | float) -> str:
        segments = "/".join(quote(part, safe="") for part in (activity_id, *parts))
        return f"{self.root}/activities/{segments}{query_of(query)}"

    async def start_activity(self, activity_id: str, request: svc.StartActivityRequest) -> svc.StartActivityAnswer:
        """Starts an activity without a workflow."""
        return await self._to_activity(activity_id).call(
            "POST", self._activity(activity_id), request, svc.StartActivityAnswer
        )

    async def describe_activity(self, activity_id: str, run_id: str) -> svc.DescribeActivityAnswer:
        """Describes a standalone activity."""
        path = self._activity(activity_id, run_id=run_id)
        return await self._to_activity(activity_id).call("GET", path, None, svc.DescribeActivityAnswer)

    async def activity_result(self, activity_id: str, run_id: str) -> svc.ActivityResultAnswer:
        """Waits for the end of a standalone activity."""
        path = self._activity(activity_id, "result", run_id=run_id, wait=LONG_POLL_SECONDS)
        return await self._to_activity(activity_id).call("GET", path, None, svc.ActivityResultAnswer, LONG_POLL_SECONDS)

    async def cancel_activity(self, activity_id: str, request: svc.CancelWorkflowRequest) -> svc.Acknowledged:
        """Asks a standalone activity to stop."""
        return await self._to_activity(activity_id).call(
            "POST", self._activity(activity_id, "cancel"), request, svc.Acknowledged
        )

    async def terminate_activity(self, activity_id: str, request: svc.TerminateWorkflowRequest) -> svc.Acknowledged:
        """Ends a standalone activity."""
        return await self._to_activity(activity_id).call(
            "POST", self._activity(activity_id, "terminate"), request, svc.Acknowledged
        )

    async def list_activities(self, query: str, *, limit: int, cursor: str) -> svc.ListActivitiesAnswer:
        """One page of a list."""
        asked = query_of({"query": query, "limit": limit, "cursor": cursor})
        return await self.connection.call("GET", f"{self.root}/activities{asked}", None, svc.ListActivitiesAnswer)

    async def count_activities(self, query: str) -> svc.CountActivitiesAnswer:
        """How many standalone activities a query finds."""
        path = f"{self.root}/activity-count{query_of({'query': query})}"
        return await self.connection.call("GET", path, None, svc.CountActivitiesAnswer)
