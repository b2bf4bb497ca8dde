// Views have addresses: #/processes?state=failed. Links are ordinary links, and Back works.

/** The address that is shown: the parts of its path, and its query. */
export function current() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    parts: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The address of a view; empty values are left out of the query. */
export function link(parts, query = {}) {
  const path = [parts].flat().map(encodeURIComponent).join("/");
  const fields = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
  return `#/${path}${fields.size ? `?${fields}` : ""}`;
}

/** Go to an address; `replace` leaves no step behind for Back, as for each letter of a search. */
export function go(address, replace = false) {
  if (replace) {
    history.replaceState(null, "", address);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = address;
  }
}
