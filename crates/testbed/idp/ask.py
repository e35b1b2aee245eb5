"""One request over TLS: `ask.py METHOD URL CA TOKEN BODY`, each of the last two may be empty. Prints the status, then the body."""
import ssl
import sys
import urllib.error
import urllib.request

method, url, ca, token, body = sys.argv[1:6]
headers = {"Content-Type": "application/scim+json"} if body else {}
if token:
    headers["Authorization"] = f"Bearer {token}"
request = urllib.request.Request(url, data=body.encode() or None, headers=headers, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=ca))
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
sys.stdout.write(answer.read().decode())
