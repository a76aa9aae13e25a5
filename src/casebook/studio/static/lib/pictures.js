// The pictures of a project as arrays, one value a picture, with the changes that a person makes.
import { useEffect, useRef, useState } from "./ui.js";
import { get, post } from "./api.js";

export const EXCLUDED = 1;
export const RELABELLED = 2;
export const GATHERED = 4;
export const MISSING = 8;
export const PARTS = ["no part", "train", "validation", "test"];

export const thumbnail = (project, number, side = 128) => `/api/projects/${project.id}/thumbnails/${number}?side=${side}`;

// {pictures, error, reload, change, undo}; pictures is null until it is there.
export function usePictures(project) {
  const [pictures, set] = useState(null);
  const [error, setError] = useState(null);
  const base = `/api/projects/${project.id}`;
  const load = (again) => get(`${base}/pictures${again ? "?again=1" : ""}`).then((found) => { set(found); setError(null); }, setError);
  useEffect(() => { load(true); }, [project.id]);
  // Each change waits for the answer to the one before: sent at once, the undo of a change could overtake it.
  const last = useRef(Promise.resolve());
  const send = (place, body) => {
    const sent = last.current.then(() => post(`${base}/${place}`, body)).then((found) => { take(found); return found.numbers; });
    last.current = sent.catch(() => {});
    return sent;
  };
  const take = (found) => set((before) => {
    const [labels, flags] = [before.labels.slice(), before.flags.slice()];
    found.numbers.forEach((number, place) => { labels[number] = found.labels[place]; flags[number] = found.flags[place]; });
    return { ...before, labels, flags, classes: found.classes, can_undo: found.can_undo, edited: found.edited };
  });
  return {
    pictures, error,
    reload: () => load(true),
    // changes: [{numbers, label} or {numbers, excluded}]
    change: (changes) => send("labels", { changes }),
    undo: () => send("labels/undo"),
  };
}
