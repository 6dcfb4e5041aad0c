"""Invents a home for benchmarks: `python -m tools.home_names 2000 > names.json`.

The JSON is what the service keeps of a home: entities with names, areas, floors.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, field
from typing import Any

FLOORS = {
    "Basement": ("Cellar",),
    "Ground Floor": ("Downstairs", "Main Floor"),
    "First Floor": ("Upstairs",),
    "Attic": (),
    "Outside": (),
}
ROOMS = {
    "Basement": "Laundry Room, Workshop, Wine Cellar, Boiler Room, Gym, Storage Room, Sauna",
    "Ground Floor": "Kitchen, Living Room, Dining Room, Hallway, Office, Guest Bathroom, Pantry, "
    "Library, Conservatory, Utility Room, Playroom, Garage",
    "First Floor": "Bedroom, Master Bedroom, Bathroom, Guest Room, Nursery, Landing, Study, "
    "Dressing Room, Ensuite, Kids Bathroom, Sewing Room, Balcony",
    "Attic": "Loft, Studio, Home Cinema, Music Room, Box Room",
    "Outside": "Garden, Patio, Driveway, Front Yard, Back Yard, Pool, Shed, Greenhouse, Porch",
}
PEOPLE = "Anna Ben Clara David Emma Felix Grace Henry Isla Jack Lena Max Nora Oscar Paula Tom"
THINGS = {
    "light": "Light, Lamp, Ceiling Light, Floor Lamp, Desk Lamp, Reading Light, Spotlights, Strip, "
    "Pendant, Wall Light, String Lights, Night Light, Chandelier, Uplighter, Mirror Light",
    "switch": "Socket, Plug, Heater, Charger, Kettle, Coffee Machine, Fan Heater, Printer, Pump, "
    "Dehumidifier, Router, Freezer",
    "fan": "Fan, Ceiling Fan, Extractor Fan, Air Purifier",
    "media_player": "TV, Speaker, Radio, Soundbar, Record Player, Tablet, Projector",
    "climate": "Thermostat, Radiator, Air Conditioner, Floor Heating",
    "cover.blind": "Blind, Left Blind, Right Blind, Roman Blind, Roof Blind",
    "cover.curtain": "Curtain, Curtains, Sheers",
    "cover.shutter": "Shutter, Shutters, Roller Shutter",
    "lock": "Door Lock, Lock, Cabinet Lock",
    "sensor.temperature": "Temperature, Wall Temperature",
    "sensor.humidity": "Humidity",
    "sensor.carbon_dioxide": "CO2",
    "sensor.power": "Power, Power Meter",
    "sensor.battery": "Sensor Battery, Remote Battery",
    "binary_sensor.window": "Window, Left Window, Right Window, Roof Window",
    "binary_sensor.door": "Door, Sliding Door, Balcony Door",
    "binary_sensor.motion": "Motion, Motion Sensor",
    "binary_sensor.smoke": "Smoke Alarm",
    "button": "Restart Button, Identify Button",
    "vacuum": "Vacuum",
}
OFTEN = {"light": 9, "switch": 5, "sensor.temperature": 3, "binary_sensor.window": 3}
"""How often a kind occurs, where that is not once."""
HOUSE = {
    "scene": "Movie Night, Good Morning, Good Night, Dinner, Party, Relax, Focus, Romantic, "
    "Sunrise, Reading Time, Cleaning Day, Holiday, Candlelight, Bright, Rainy Day, Bath Time",
    "script": "Party Time, Bedtime Story, Leave Home, Come Home, Water the Plants, Lock Up, "
    "Wake Up Call, Feed the Cat, Panic Mode, Guest Mode",
    "todo": "Shopping List, Chores, Packing List, Wish List",
    "weather": "Home, Airport, Village",
    "lawn_mower": "Lawn Mower, Robot Mower",
    "person": PEOPLE.replace(" ", ", "),
}
SYNONYMS = {
    "TV": "Television",
    "Lamp": "Light",
    "Light": "Lamp",
    "Speaker": "Loudspeaker",
    "Socket": "Outlet",
    "Thermostat": "Heating",
    "Blind": "Shade",
    "Curtains": "Drapes",
    "Living Room": "Lounge",
    "Bathroom": "Bath",
    "Garden": "Yard",
    "Study": "Den",
}
ALIASED = 0.25
"""Share of the entities that have an alias."""
NAMES_TO_AN_AREA = 30


@dataclass(slots=True)
class Home:
    """Names in the making."""

    count: int
    random: random.Random
    areas: list[tuple[str, str]] = field(default_factory=list)
    """Name and floor."""
    entities: list[list[Any]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)

    def build(self) -> dict[str, Any]:
        """The home, as the service writes it."""
        self._choose_areas()
        for domain, listed in HOUSE.items():
            for name in listed.split(", ")[: max(1, self.count // 40)]:
                self._add(domain, name, None)
        kinds = list(THINGS)
        weights = [OFTEN.get(kind, 1) for kind in kinds]
        while len(self.names) < self.count:
            (kind,) = self.random.choices(kinds, weights)
            area, _floor = self.random.choice(self.areas)
            self._add(kind, f"{area} {self.random.choice(THINGS[kind].split(', '))}", area)
        return {
            "v": 1,
            "entities": self.entities,
            "areas": [[slug(name), self._aliased(name), slug(floor)] for name, floor in self.areas],
            "floors": [[slug(name), [name, *aliases]] for name, aliases in FLOORS.items()],
            "lists": {},
        }

    def _choose_areas(self) -> None:
        rooms = [(name, floor) for floor, listed in ROOMS.items() for name in listed.split(", ")]
        self.random.shuffle(rooms)
        own = [
            (f"{person}'s {room}", "First Floor")
            for room in ("Bedroom", "Office", "Bathroom")
            for person in PEOPLE.split()
        ]
        self.areas = [*rooms, *own][: max(4, self.count // NAMES_TO_AN_AREA)]

    def _add(self, kind: str, name: str, area: str | None) -> None:
        """Add an entity. A name that is taken gets a number."""
        if len(self.names) >= self.count:
            return
        name = numbered(name, self.names)
        self.names.add(name)
        names = [name]
        if len(self.names) < self.count and self.random.random() < ALIASED:
            names += [alias for alias in self._aliased(name)[1:] if alias not in self.names]
            self.names.update(names)
        domain, _, device_class = kind.partition(".")
        id = numbered(f"{domain}.{slug(name)}", self.ids, "_")
        self.ids.add(id)
        self.entities.append([id, names, slug(area) if area else None, device_class or None])

    def _aliased(self, name: str) -> list[str]:
        """A name with its alias, if it has one."""
        for word, other in SYNONYMS.items():
            if f" {word} " in f" {name} ":
                return [name, f" {name} ".replace(f" {word} ", f" {other} ").strip()]
        return [name]


def home_of(count: int, seed: int = 0) -> dict[str, Any]:
    """A home with `count` names of entities, with aliases. The same seed gives the same home."""
    return Home(count, random.Random(seed)).build()


def numbered(name: str, taken: set[str], separator: str = " ") -> str:
    """A name that is not taken yet: the name itself or the next number after it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}{separator}{number}"
    return free


def slug(name: str) -> str:
    """A name as Home Assistant makes an id of it."""
    return name.casefold().replace("'", "").replace(" ", "_")


def main() -> None:
    """Print a home."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="how many names")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(home_of(arguments.count, arguments.seed), ensure_ascii=False))


if __name__ == "__main__":
    main()
