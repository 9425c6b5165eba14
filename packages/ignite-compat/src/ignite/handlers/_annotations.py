"""The kinds of engines and events that handlers take."""

from __future__ import annotations

from typing import Any

from camshaft.engine import CallableEventWithFilter, Engine, EventsList

AnyEngine = Engine[Any, Any]
AnyEvent = str | CallableEventWithFilter | EventsList
