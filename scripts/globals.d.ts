// What the scripts of a page find as globals: other projects' scripts, and each other.
declare var htmx: any;
declare var QuartSSE: any;
