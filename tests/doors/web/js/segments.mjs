// Runs the segmenter and the noise floor on cases from standard input; see test_scripts.py.

import { readFileSync } from "node:fs";
import { load } from "./parts.mjs";

const { Segmenter } = await load("segmenter");
const { NoiseFloor } = await load("activity");
const { cases, levels } = JSON.parse(readFileSync(0, "utf-8"));

const outputs = cases.map((events) => {
  const segmenter = new Segmenter();
  return events.map((event) => {
    if (event.cut) return plain(segmenter.cut(event.cut));
    if (event.unsent !== undefined) return plain(segmenter.endByService(event.unsent));
    if (event.more) {
      segmenter.expectMore();
      return null;
    }
    const { number, begins, goes_on: goesOn, sounds, listen } = event;
    return plain(segmenter.push({ pcm: number, begins, goesOn, sounds }, listen));
  });
});
const floor = new NoiseFloor();
console.log(JSON.stringify({ outputs, floors: levels.map((level) => floor.push(level)) }));

function plain({ opened, frames, closed, flush }) {
  return [opened, frames, closed, flush];
}
