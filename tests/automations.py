"""Runs the automation of a blueprint in a home with a clock of its own.

A template that fails ends the run, except in a condition of `if`, `choose` and `while`, which then
counts as false. Actions refuse what Home Assistant's schemas refuse.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat as again
from types import SimpleNamespace
from typing import Any

from tests.home_assistant import Input, State, environment, inputs_of, load, render, value_of

OWN_AGENT = "conversation.home_assistant"
START = 1_795_300_010.0
STEPS = {
    "action": {"target", "data", "response_variable", "continue_on_error"},
    "choose": set[str](),
    "condition": {"value_template"},
    "delay": set[str](),
    "event": {"event_data"},
    "if": {"then"},
    "parallel": set[str](),
    "repeat": set[str](),
    "sequence": set[str](),
    "stop": set[str](),
    "variables": set[str](),
    "wait_for_trigger": {"timeout"},
    "wait_template": {"timeout"},
}

Scope = ChainMap[str, Any]
Steps = Generator[tuple[float | None, Callable[[], bool]], None, None]


def kind_of(step: dict[str, Any]) -> str:
    """What a step is."""
    (kind,) = STEPS.keys() & step.keys()
    return kind


class StopError(Exception):
    """A `stop` in a sequence."""


@dataclass(eq=False)
class Task:
    """A sequence that runs, and what it waits for."""

    steps: Steps
    deadline: float | None = None
    ready: Callable[[], bool] = lambda: True
    done: bool = False
    error: Exception | None = None


def _done(_asked: dict[str, Any]) -> dict[str, Any]:
    speech = {"plain": {"speech": "Done.", "extra_data": None}}
    return {"speech": speech, "response_type": "action_done", "data": {"success": []}}


@dataclass
class Home:
    """A home with one automation, some entities and a clock."""

    name: str
    inputs: dict[str, Any] = field(default_factory=dict)
    now: float = START
    areas: dict[str, str] = field(
        default_factory=lambda: {"kitchen": "Kitchen", "living_room": "Living Room"}
    )
    agents: set[str] = field(default_factory=lambda: {OWN_AGENT})
    entries: set[str] = field(default_factory=set)
    answer: Callable[[dict[str, Any]], dict[str, Any]] = _done
    speak: Callable[[dict[str, Any]], None] = lambda _said: None

    def __post_init__(self) -> None:
        self.called: list[tuple[str, Any]] = []
        self.stops: list[str] = []
        self.errors: list[Exception] = []
        self.states: dict[str, State] = {}
        self._blueprint = load(self.name)
        declared = inputs_of(self._blueprint)
        defaults = {key: item["default"] for key, item in declared.items() if "default" in item}
        satellites = ["event.kitchen_utterance", "event.hall_utterance"]
        self.inputs = defaults | {"satellites": satellites} | self.inputs
        self._tasks: list[Task] = []
        self._runs: list[Task] = []
        self._listeners: list[tuple[list[dict[str, Any]], Scope, dict[str, Any]]] = []
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._environment = environment(self)

    # What happens in the home -----------------------------------------------------------------

    def set_state(self, entity_id: str, state: str, **attributes: Any) -> State:
        """An entity has a state."""
        changed = datetime.fromtimestamp(self.now, UTC)
        self.states[entity_id] = State(entity_id, state, attributes, changed)
        return self.states[entity_id]

    def event(self, entity_id: str, state: str | None, **attributes: Any) -> None:
        """The state of a satellite's event entity changes; without a state it is removed."""
        before = self.states.pop(entity_id, None)
        after = None if state is None else self.set_state(entity_id, state, **attributes)
        self._fire(
            SimpleNamespace(
                platform="state", entity_id=entity_id, from_state=before, to_state=after
            )
        )

    def later(self, after_s: float, what: Callable[[], object]) -> None:
        """Something happens after a while."""
        self._later.append((self.now + after_s, what))

    def advance(self, seconds: float) -> None:
        """Time goes by."""
        until = self.now + seconds
        self._settle()
        while True:
            waiting = [task.deadline for task in self._tasks if task.deadline is not None]
            coming = min([*waiting, *(at for at, _ in self._later)], default=until + 1)
            if coming > until:
                break
            self.now = max(self.now, coming)
            due = [what for at, what in self._later if at <= self.now]
            self._later = [item for item in self._later if item[0] > self.now]
            for what in due:
                what()
            self._settle()
        self.now = until

    @property
    def running(self) -> int:
        """How many runs of the automation there are."""
        return len(self._runs)

    def data_of(self, action: str) -> list[Any]:
        """With what an action was called."""
        return [data for called, data in self.called if called == action]

    # Triggers ---------------------------------------------------------------------------------

    def _fire(self, trigger: Any) -> None:
        for triggers, scope, wait in list(self._listeners):
            if any(self._fits(item, trigger, scope) for item in triggers):
                wait |= {"trigger": trigger, "completed": True}
        if any(self._fits(item, trigger, Scope()) for item in self._blueprint["triggers"]):
            self._runs.append(self._spawn(self._run(trigger, len(self._runs))))
        self._settle()

    def _fits(self, item: dict[str, Any], trigger: Any, scope: Scope) -> bool:
        if item["trigger"] != trigger.platform:
            return False
        if trigger.platform == "event":
            expected = self._render(item["event_data"], scope)
            return bool(item["event_type"] == trigger.event_type and expected == trigger.data)
        old = getattr(trigger.from_state, "state", None)
        new = getattr(trigger.to_state, "state", None)
        chosen = trigger.entity_id in self._render(item["entity_id"], scope)
        return chosen and old not in item["not_from"] and new not in item["not_to"]

    def _run(self, trigger: Any, current: int) -> Steps:
        scope = Scope({"trigger": trigger, "this": {"attributes": {"current": current}}})
        for key, item in self._blueprint["variables"].items():
            scope[key] = self._render(item, scope)
        if all(self._is_true(item["value_template"], scope) for item in self._conditions):
            yield from self._sequence(self._blueprint["actions"], scope)

    @property
    def _conditions(self) -> list[dict[str, Any]]:
        return list(self._blueprint["conditions"])

    # Steps ------------------------------------------------------------------------------------

    def _sequence(self, steps: list[dict[str, Any]], scope: Scope) -> Steps:
        for step in steps:
            yield from getattr(self, f"_step_{kind_of(step)}")(step, scope)

    def _step_sequence(self, step: dict[str, Any], scope: Scope) -> Steps:
        yield from self._sequence(step["sequence"], scope)

    def _step_condition(self, step: dict[str, Any], scope: Scope) -> Steps:
        if not self._is_true(step["value_template"], scope):
            raise StopError
        yield from ()

    def _step_variables(self, step: dict[str, Any], scope: Scope) -> Steps:
        for key, template in step["variables"].items():
            scope.maps[-1][key] = self._render(template, scope)
        yield from ()

    def _step_if(self, step: dict[str, Any], scope: Scope) -> Steps:
        if self._hold(step["if"], scope):
            yield from self._sequence(step["then"], scope)

    def _step_choose(self, step: dict[str, Any], scope: Scope) -> Steps:
        for option in step["choose"]:
            if self._hold(option["conditions"], scope):
                yield from self._sequence(option["sequence"], scope)
                return

    def _step_stop(self, step: dict[str, Any], scope: Scope) -> Steps:
        self.stops.append(step["stop"])
        raise StopError
        yield

    def _step_delay(self, step: dict[str, Any], scope: Scope) -> Steps:
        yield self.now + self._seconds(step["delay"], scope), lambda: False

    def _step_repeat(self, step: dict[str, Any], scope: Scope) -> Steps:
        repeat = step["repeat"]
        items: Iterable[Any] = again(None)
        if "for_each" in repeat:
            items = self._render(repeat["for_each"], scope)
            assert isinstance(items, list)
        for index, item in enumerate(items, 1):
            about = {"first": index == 1, "index": index, "item": item}
            inner = scope.new_child({"repeat": about})
            if not self._hold(repeat.get("while", []), inner):
                break
            yield from self._sequence(repeat["sequence"], inner)

    def _step_parallel(self, step: dict[str, Any], scope: Scope) -> Steps:
        branches = [self._sequence([branch], scope.new_child()) for branch in step["parallel"]]
        tasks = [self._spawn(branch) for branch in branches]
        yield None, lambda: all(task.done for task in tasks)
        for error in [task.error for task in tasks if task.error is not None]:
            raise error

    def _step_wait_template(self, step: dict[str, Any], scope: Scope) -> Steps:
        def ready() -> bool:
            return self._is_true(step["wait_template"], scope)

        yield self.now + self._seconds(step["timeout"], scope), ready
        scope["wait"] = {"completed": ready()}

    def _step_wait_for_trigger(self, step: dict[str, Any], scope: Scope) -> Steps:
        wait: dict[str, Any] = {"trigger": None, "completed": False}
        listener = (step["wait_for_trigger"], scope, wait)
        self._listeners.append(listener)
        yield self.now + self._seconds(step["timeout"], scope), lambda: bool(wait["completed"])
        self._listeners.remove(listener)
        scope["wait"] = wait

    def _step_event(self, step: dict[str, Any], scope: Scope) -> Steps:
        data = self._render(step["event_data"], scope)
        self._fire(SimpleNamespace(platform="event", event_type=step["event"], data=data))
        yield from ()

    def _step_action(self, step: dict[str, Any], scope: Scope) -> Steps:
        data = self._render(step["data"], scope) | self._render(step.get("target", {}), scope)
        self.called.append((step["action"], data))
        if step["action"] == "conversation.process":
            assert all(isinstance(value, str) for value in data.values()), data
            assert data["agent_id"] in self.agents, "invalid agent ID"
            answer = {"response": self.answer(data)}
            if "response_variable" in step:
                scope.maps[-1][step["response_variable"]] = answer
        elif step["action"] == "tts.speak":
            assert data["entity_id"] in self.states, "the voice is not there"
            assert all(id in self.states for id in data["media_player_entity_id"])
            assert isinstance(data["message"], str)
            self.speak(data)
        else:
            assert step["action"] == "mqtt.publish", step
            assert re.fullmatch("[^+#]+", data["topic"]), data
        yield from ()

    # Tasks and templates ----------------------------------------------------------------------

    def _spawn(self, steps: Steps) -> Task:
        task = Task(steps)
        self._tasks.append(task)
        return task

    def _settle(self) -> None:
        while ready := [task for task in self._tasks if self._is_ready(task)]:
            for task in ready:
                self._go_on(task)
            self._tasks = [task for task in self._tasks if not task.done]
        for run in [run for run in self._runs if run.done]:
            self._runs.remove(run)
            if run.error is not None and not isinstance(run.error, StopError):
                self.errors.append(run.error)

    def _is_ready(self, task: Task) -> bool:
        if task.done or task.steps.gi_running:  # type: ignore[attr-defined]
            return False
        return task.ready() or (task.deadline is not None and task.deadline <= self.now)

    def _go_on(self, task: Task) -> None:
        if not self._is_ready(task):
            return
        try:
            task.deadline, task.ready = next(task.steps)
        except StopIteration:
            task.done = True
        except Exception as error:
            task.done, task.error = True, error

    def _seconds(self, value: Any, scope: Scope) -> float:
        value = self._render(value, scope)
        if isinstance(value, dict):
            return float(value.get("seconds", 0) + value.get("milliseconds", 0) / 1000)
        return float(value)

    def _hold(self, conditions: list[dict[str, Any]], scope: Scope) -> bool:
        """Whether all conditions are true; one that fails is not."""
        try:
            return all(self._is_true(item["value_template"], scope) for item in conditions)
        except Exception:
            return False

    def _is_true(self, template: str, scope: Scope) -> bool:
        return str(self._render(template, scope)).lower() == "true"

    def _render(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Input):
            return self.inputs[value]
        if isinstance(value, dict):
            return {key: self._render(item, scope) for key, item in value.items()}
        if isinstance(value, list):
            return [self._render(item, scope) for item in value]
        if not isinstance(value, str) or not re.search("{[{%]", value):
            return value
        return value_of(render(self._environment, value, scope))
