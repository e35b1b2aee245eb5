"""Checks a SCIM server with scim2-tester: `scim_check.py URL CA TOKEN`. Prints what failed as JSON lines, then a count."""
import json
import ssl
import sys

import httpx2
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

url, ca, token = sys.argv[1:4]
context = ssl.create_default_context(cafile=ca)
headers = {"Authorization": f"Bearer {token}"}
with httpx2.Client(base_url=url, headers=headers, verify=context, timeout=30) as client:
    results = check_server(SyncSCIMClient(client))
failed = [result for result in results if result.status not in (Status.SUCCESS, Status.SKIPPED)]
for result in failed:
    print(json.dumps({"status": result.status.name, "title": result.title, "reason": str(result.reason)[:2000]}))
print(json.dumps({"checked": len(results), "failed": len(failed)}))
