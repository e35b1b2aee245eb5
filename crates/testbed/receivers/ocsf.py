"""Reads events of OCSF 1.3.0, one a line, and validates each against the schema of its class. Writes one line of JSON:
how many there are of which class, and what was wrong."""

import collections
import json
import sys

import jsonschema
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas = OcsfJsonSchemaEmbedded(get_ocsf_schema("1.3.0"))
validators = {}
classes = collections.Counter()
problems = []
for line in open(sys.argv[1], encoding="utf-8"):
    event = json.loads(line)
    profiles = event["metadata"].get("profiles", [])
    uid = (event["class_uid"], *profiles)
    if uid not in validators:
        schema = schemas.get_class_schema(schemas.lookup_class_name_from_uid(uid[0]), profiles)
        # What the schema has no place for must be in `unmapped`.
        schema["additionalProperties"] = False
        validators[uid] = jsonschema.Draft202012Validator(schema)
    classes[event["class_name"]] += 1
    for error in validators[uid].iter_errors(event):
        if len(problems) < 20:
            problems.append(f"{event['metadata']['uid']} at {list(error.absolute_path)}: {error.message[:300]}")
print(json.dumps({"events": sum(classes.values()), "classes": classes, "problems": problems}))
