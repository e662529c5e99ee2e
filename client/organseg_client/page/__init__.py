"""The page of `organseg-client ui`: open a scan in a browser, ask in words, see the organs.

| module | what it is for |
|---|---|
| `options` | where the page listens, and how much it may hold |
| `access` | who may talk to it: hosts, origins, token, and the headers of every answer |
| `uploads` | files from a browser into a folder, bounded |
| `scan` | one opened image or volume, as it is shown and asked about |
| `answers` | what a question about it brought, as the page shows it |
| `store` | the opened scans: bounded in number and memory, closed when idle |
| `words` | errors as helpful words |
| `routes_scan`, `routes_ask`, `app` | the HTTP interface |
| `serving` | the socket, the address that is printed, the loop |
| `static/` | the page itself: plain JavaScript modules and CSS, with NiiVue for the pixels |

Needs the extra `ui` (Starlette, uvicorn).
"""
