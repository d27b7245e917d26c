// A stand-in for a browser: runs the page argv[2], performs the steps in argv[3] (JSON), and prints the results.
"use strict";
const fs = require("fs");
const html = fs.readFileSync(process.argv[2], "utf8");
const [, data, script] = html.match(/id="data">([^]*?)<\/script>\s*<script>([^]*)<\/script>/);

class Element {
  constructor(name) {
    Object.assign(this, { name, children: [], listeners: {}, attributes: {}, style: {}, hidden: false, value: "" });
    Object.assign(this, { clientWidth: 800, clientHeight: 600, offsetWidth: 100, offsetHeight: 50, textContent: "" });
    this.classList = { add() {}, remove() {}, toggle() {} };
  }
  get firstChild() { return this.children[0]; }
  append(...children) { this.children.push(...children); }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(type, listener) { this.listeners[type] = listener; }
  setPointerCapture() {}
  fire(type, event = {}) { this.listeners[type]({ type, preventDefault() {}, ...event }); }
  getContext() {
    const record = (picture, x, y) => drawn.push([x + picture.width / 2, y + picture.width / 2, pen.globalAlpha]);
    const pen = { drawImage: record, clearRect: () => (drawn = []) };
    for (const method of ["setTransform", "beginPath", "arc", "fill", "stroke"]) pen[method] = () => {};
    return pen;
  }
}

let drawn = [];
const frames = [];
const elements = { "#data": new Element("script"), "#tip": new Element("div") };
elements["#data"].textContent = data;
elements["#tip"].append(new Element("b"), new Element("div"));
const document = {
  querySelector: selector => (elements[selector] ??= new Element(selector)),
  getElementById: id => elements[`#${id}`],
  createElement: name => new Element(name),
  body: new Element("body"),
};
class ResizeObserver {
  constructor(call) { this.call = call; }
  observe() { this.call(); }
}
const globals = {
  document,
  ResizeObserver,
  devicePixelRatio: 1,
  matchMedia: () => ({ matches: false, addEventListener() {} }),
  requestAnimationFrame: call => frames.push(call),
  getComputedStyle: () => ({ color: "black" }),
};
new Function(...Object.keys(globals), script)(...Object.values(globals));

const seen = JSON.parse(process.argv[3]).map(([selector, type, event]) => {
  const [, name, number] = selector.match(/^([^ ]*) ?(\d*)$/);
  const target = number ? elements[name].children[number].firstChild : elements[name];
  if (event && "value" in event) target.value = event.value;
  target.fire(type, event);
  while (frames.length) frames.shift()();
  const [label, text] = elements["#tip"].children;
  return {
    tip: elements["#tip"].hidden ? null : [label.textContent, text.textContent],
    count: elements["#count"].textContent,
    pressed: elements.ul.children.map(item => item.firstChild.attributes["aria-pressed"]),
    drawn,
  };
});
const legend = elements.ul.children.map(item => item.firstChild.children.map(child => child.textContent).slice(1));
console.log(JSON.stringify({ title: document.title, legend, seen }));
