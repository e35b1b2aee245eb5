// Passkeys: the one thing on these pages that a browser does only by script. Everything else works without it.
"use strict";

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    credentials: "same-origin",
    body: JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.title || "it did not work");
  return said;
}

async function signIn(form) {
  const begun = await ask("/passkeys/sign-in/begin", {});
  const options = begun.options.publicKey;
  options.challenge = bytes(options.challenge);
  for (const key of options.allowCredentials || []) key.id = bytes(key.id);
  const key = await navigator.credentials.get({ publicKey: options });
  const credential = {
    id: key.id,
    rawId: text(key.rawId),
    type: key.type,
    extensions: {},
    response: {
      authenticatorData: text(key.response.authenticatorData),
      clientDataJSON: text(key.response.clientDataJSON),
      signature: text(key.response.signature),
      userHandle: key.response.userHandle ? text(key.response.userHandle) : null,
    },
  };
  const next = form.querySelector("[name=next]");
  const done = await ask("/passkeys/sign-in/finish", {
    ceremony: begun.ceremony,
    credential,
    next: next ? next.value : "/",
  });
  location.assign(done.next);
}

async function enrol(form) {
  const begun = await ask("/passkeys/enrol/begin", { label: form.querySelector("[name=label]").value });
  const options = begun.options.publicKey;
  options.challenge = bytes(options.challenge);
  options.user.id = bytes(options.user.id);
  for (const key of options.excludeCredentials || []) key.id = bytes(key.id);
  // Kept by the device under its owner's name, so that nobody has to say who they are before.
  options.authenticatorSelection = { ...options.authenticatorSelection, residentKey: "required", requireResidentKey: true };
  const key = await navigator.credentials.create({ publicKey: options });
  const credential = {
    id: key.id,
    rawId: text(key.rawId),
    type: key.type,
    extensions: {},
    response: {
      attestationObject: text(key.response.attestationObject),
      clientDataJSON: text(key.response.clientDataJSON),
    },
  };
  await ask("/passkeys/enrol/finish", { ceremony: begun.ceremony, credential });
  location.assign("/");
}

for (const [value, act] of [["passkey", signIn], ["add-passkey", enrol]]) {
  for (const button of document.querySelectorAll(`button[value=${value}]`)) {
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      const form = button.closest("form");
      let shown = form.querySelector(".warning");
      try {
        await act(form);
      } catch (error) {
        if (!shown) {
          shown = document.createElement("p");
          shown.className = "warning";
          shown.setAttribute("role", "alert");
          form.append(shown);
        }
        shown.textContent = error.name === "NotAllowedError" ? "The passkey was not used." : error.message;
      }
    });
  }
}
