// Gives a fragment random versions, and puts elements of its own between; see test_versions.py.
// Returns how many versions there were, and what went wrong.
async ([key, rounds, begin]) => {
    let seed = begin, ids = 0;
    const random = (n) => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8) % n;
    const TAGS = ["div", "p2", "span", "ul", "li", "b", "section", "x-own"];
    const grow = (depth) => Array.from({ length: random(6) }, () => {
        const kind = random(10);
        if (kind < 2) return { text: `text${random(20)}` };
        if (kind < 3) return { text: "\n " };
        if (kind < 4) return { comment: `comment${random(4)}` };
        return {
            tag: TAGS[random(TAGS.length)], id: random(2) ? `i${ids++}` : null,
            look: random(3) ? `a${random(5)} b${random(3)}` : null,
            style: random(4) ? null : `width: ${random(9)}px;`,
            field: random(6) ? null : random(9), inside: depth ? grow(depth - 1) : [],
        };
    });
    const change = (nodes, depth) => {
        nodes = nodes.map((node) => ({ ...node }));
        for (let left = random(4); left; left--) {
            const [kind, at] = [random(6), random(nodes.length || 1)];
            const node = nodes[at];
            if (kind === 0) nodes.splice(at, 1);
            else if (kind === 1) nodes.splice(at, 0, ...grow(1).slice(0, 2));
            else if (kind === 2 && node) nodes.splice(random(nodes.length), 0, ...nodes.splice(at, 1));
            else if (kind === 3 && node?.text) node.text = `text${random(20)}`;
            else if (kind === 3 && node?.tag) node.look = `a${random(5)}`;
            else if (kind === 4 && node?.tag) node.style = random(2) ? `width: ${random(9)}px;` : null;
            else if (kind === 5) nodes.reverse();
        }
        for (const node of nodes) if (node.inside && random(2)) node.inside = change(node.inside, depth - 1);
        return nodes;
    };
    const attribute = (name, value) => (value ? ` ${name}="${value}"` : "");
    const html = (nodes) => nodes.map(({ text, comment, tag, id, look, style, field, inside }) =>
        text ?? (comment ? `<!--${comment}-->`
            : `<${tag}${attribute("id", id)}${attribute("class", look)}${attribute("style", style)}>`
              + (field === null ? "" : `<input name="n" value="${field}">`) + `${html(inside)}</${tag}>`)).join("");
    const normal = (text) => {
        const place = document.createElement("div");
        place.innerHTML = text;
        place.normalize();
        for (const element of place.querySelectorAll("*")) {
            const all = [...element.attributes].map(({ name, value }) =>
                [name, name === "class" ? value.split(" ").sort().join(" ") : value]).sort();
            for (const [name] of all) element.removeAttribute(name);
            for (const [name, value] of all) element.setAttribute(name, value);
        }
        return place.innerHTML;
    };
    const root = document.querySelector("[data-sse]");
    const { put } = window.inner;
    const show = (text) => put(`<hx-partial hx-target="[data-sse='${key}']" hx-swap="innerMorph">${text}</hx-partial>`);
    let versions = 0;
    for (let round = 0; round < rounds; round++) {
        let nodes = grow(3);
        show(html(nodes));
        for (let version = 0; version < 6; version++) {
            nodes = change(nodes, 3);
            const said = html(nodes);
            show(said);
            versions++;
            const shown = root.cloneNode(true);
            shown.querySelectorAll("u.foreign").forEach((node) => node.remove());
            const [live, sent] = [shown.innerHTML, QuartSSE.sent.sentOf.get(root).innerHTML].map(normal);
            if (live !== normal(said)) return [versions, "live", live, normal(said)];
            if (sent !== normal(said)) return [versions, "sent", sent, normal(said)];
            const fields = [...shown.querySelectorAll("input")].map((field) => field.value === field.defaultValue);
            if (fields.includes(false)) return [versions, "value", live, said];
            if (round % 2) {
                const all = [root, ...root.querySelectorAll("*:not(input):not(u)")];
                const parent = all[random(all.length)];
                const made = document.createElement("u");
                made.className = "foreign";
                parent.insertBefore(made, parent.childNodes[random(parent.childNodes.length + 1)] || null);
                await 0;
            }
        }
    }
    return [versions];
}
