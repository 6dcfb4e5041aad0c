"""Reads the parts of a phrase file."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from hassil.intents import IntentData

from stt_mqtt.config.diagnostics import shown
from stt_mqtt.config.yaml_nodes import is_null
from stt_mqtt.phrases.lists import ListReader
from stt_mqtt.phrases.nodes import NodeReader
from stt_mqtt.phrases.parts import Template, WrittenBlock, WrittenLanguage

_FILE = ("language", "intents", "lists", "expansion_rules", "skip_words")
_FILE_UNUSED = ("responses", "settings", "metadata")
_INTENT_UNUSED = ("description", "domain", "metadata")
_BLOCK = ("sentences", "slots", "requires_context", "excludes_context", "expansion_rules", "lists")
_BLOCK_UNUSED = (
    "response", "metadata", "settings", "required_keywords", "inferred_domain", "name_domains",
)  # fmt: skip
_LANGUAGE = "a phrase file must name its language, as in `language: en`"


def language_of(root: yaml.Node | None, nodes: NodeReader) -> tuple[str, yaml.Node] | None:
    """The language tag of a file, with its node. None: there is none, which is reported."""
    if not isinstance(root, yaml.MappingNode):
        nodes.report(root, _LANGUAGE)
        return None
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value == "language":
            if isinstance(value, yaml.ScalarNode) and value.value:
                return str(value.value), value
            nodes.report(value, "language must be a language tag such as en or pt-BR")
            return None
    nodes.report(root, _LANGUAGE)
    return None


class PhraseFileReader:
    """Reads one file into the parts of its language."""

    def __init__(self, nodes: NodeReader) -> None:
        self._nodes = nodes
        self._lists = ListReader(nodes)

    def read(self, root: yaml.Node, into: WrittenLanguage) -> None:
        """Add what a file says. Lists get more values, a rule replaces one of that name."""
        for key, _, value in self._nodes.pairs(root, "a phrase file", _FILE, _FILE_UNUSED):
            match key:
                case "intents":
                    for name, _, intent in self._nodes.pairs(value, "intents"):
                        into.blocks += self._intent(name, intent)
                case "lists":
                    for name, read in self._lists.read(value).items():
                        self._lists.add(name, read, into.lists)
                case "expansion_rules":
                    for name, rule in self._rules(value).items():
                        if name in into.rules:
                            replaced = f"replaces the one in {into.rules[name].place}"
                            into.notes.append((rule.place, f"rule <{name[:60]}> {replaced}"))
                        into.rules[name] = rule
                case "skip_words":
                    into.skip_words += [text for text, _ in self._nodes.texts(value, key)]
        into.notes += self._nodes.notes

    def _intent(self, name: str, node: yaml.Node) -> Iterator[WrittenBlock]:
        what = f"intent {shown(name)}"
        data = [value for _, _, value in self._nodes.pairs(node, what, ("data",), _INTENT_UNUSED)]
        if not data and (isinstance(node, yaml.MappingNode) or is_null(node)):
            self._nodes.report(node, f"{what} lacks its data")
        for block in (item for one in data for item in self._nodes.items(one, "data")):
            read = self._block(name, block)
            if read is not None:
                yield read

    def _block(self, intent: str, node: yaml.Node) -> WrittenBlock | None:
        what = "an entry of data"
        parts = {
            key: value for key, _, value in self._nodes.pairs(node, what, _BLOCK, _BLOCK_UNUSED)
        }
        if "sentences" not in parts:
            if isinstance(node, yaml.MappingNode) or is_null(node):
                self._nodes.report(node, f"{what} lacks its sentences")
            return None
        sentences = tuple(
            template
            for text, at in self._nodes.texts(parts["sentences"], "sentences")
            if (template := self._nodes.template(text, at, "a sentence")) is not None
        )
        rules = self._rules(parts["expansion_rules"]) if "expansion_rules" in parts else {}
        lists = self._lists.read(parts["lists"]) if "lists" in parts else {}
        data = IntentData(
            sentence_texts=[template.text for template in sentences],
            slots=self._values(parts, "slots"),
            requires_context=self._values(parts, "requires_context"),
            excludes_context=self._values(parts, "excludes_context"),
            expansion_rules={name: rule.sentence for name, rule in rules.items()},
            slot_lists={name: one.slot_list for name, one in lists.items()},
        )
        # Otherwise hassil would read the sentences again.
        vars(data)["sentences"] = [template.sentence for template in sentences]
        return WrittenBlock(self._nodes.place(node), intent, sentences, rules, lists, data)

    def _rules(self, node: yaml.Node) -> dict[str, Template]:
        rules = {}
        for name, key_node, value in self._nodes.pairs(node, "expansion_rules"):
            if not isinstance(value, yaml.ScalarNode) or is_null(value):
                self._nodes.report(value, f"rule <{name[:60]}> must be text")
                continue
            template = self._nodes.template(value.value, key_node, f"rule <{name[:60]}>")
            if template is not None:
                rules[name] = template
        return rules

    def _values(self, parts: dict[str, yaml.Node], key: str) -> dict[str, object]:
        if key not in parts:
            return {}
        return {
            name: self._nodes.plain(value) for name, _, value in self._nodes.pairs(parts[key], key)
        }
