// Goes through Wardline's pages as a person does, in a real Chromium with a virtual authenticator for passkeys. Takes what it needs
// as JSON on standard input, writes what it found as JSON on standard output, and leaves pictures of the pages in a folder.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const WIDTHS = [1280, 390];
const SCHEMES = ["light", "dark"];

const given = JSON.parse(fs.readFileSync(0, "utf8"));
const found = { steps: [], problems: [], pictures: [] };

// The certificate is the test's own; passkeys are refused where a certificate is not trusted.
function fingerprint(file) {
  const key = new crypto.X509Certificate(fs.readFileSync(file)).publicKey;
  return crypto.createHash("sha256").update(key.export({ type: "spki", format: "der" })).digest("base64");
}

async function picture(page, name) {
  for (const scheme of SCHEMES) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      const file = path.join(given.folder, `${name}-${scheme}-${width}.png`);
      await page.screenshot({ path: file, fullPage: true });
      found.pictures.push(path.basename(file));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      if (wide) found.problems.push(`${name} at ${width} is wider than its window`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
}

async function title(page, expected) {
  const text = await page.textContent("h1");
  if (text !== expected) throw new Error(`the page says "${text}" and not "${expected}"`);
  found.steps.push(expected);
}

async function main() {
  const context = await chromium.launchPersistentContext(path.join(given.folder, "profile"), {
    executablePath: given.chromium,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", `--ignore-certificate-errors-spki-list=${fingerprint(given.certificate)}`],
  });
  const page = context.pages()[0] || (await context.newPage());
  page.setDefaultTimeout(60_000);
  page.on("console", (said) => {
    // A refused form has a status that the browser reports as an error.
    if (said.type() === "error" && !said.text().includes("status of 403")) found.problems.push(said.text());
  });
  page.on("pageerror", (error) => found.problems.push(String(error)));
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });

  await page.goto(`${given.origin}/`);
  await title(page, "Sign in");
  await picture(page, "sign-in");
  await page.fill("[name=name]", given.name);
  await page.fill("[name=password]", "not the password");
  await page.click("button[value=password]");
  await page.waitForSelector(".warning");
  await picture(page, "sign-in-refused");
  await page.fill("[name=name]", given.name);
  await page.fill("[name=password]", given.password);
  await page.fill("[name=code]", given.recovery);
  await page.click("button[value=password]");
  await title(page, "Your access");
  await picture(page, "home");

  await page.click("button[value=totp]");
  await title(page, "Your authenticator");
  await picture(page, "authenticator");
  await page.goto(`${given.origin}/`);
  await page.click("button[value=recovery]");
  await title(page, "Your recovery codes");
  await picture(page, "recovery-codes");

  await page.goto(`${given.origin}/`);
  await page.fill("[name=label]", "test laptop");
  await page.click("button[value=add-passkey]");
  await page.waitForSelector("dd:has-text('test laptop')");
  found.steps.push("passkey added");
  await page.click("text=Sign out");
  await title(page, "Sign in");
  await page.click("button[value=passkey]");
  await page.waitForURL(`${given.origin}/`);
  await title(page, "Your access");
  found.steps.push("signed in with a passkey");

  await page.click("button[value=token]");
  await title(page, "Your token");
  await picture(page, "token");

  await page.goto(`${given.origin}${given.waiting}`);
  await title(page, "Let this session in?");
  await picture(page, "approve");
  await page.fill("[name=code]", given.code);
  await page.click("button[value=approve]");
  await title(page, "Approved");
  await picture(page, "approved");
  await page.goto(`${given.origin}/step-up`);
  await title(page, "One more thing");
  await picture(page, "step-up");
  await context.close();
}

main()
  .catch((error) => found.problems.push(String(error.stack || error)))
  .finally(() => {
    process.stdout.write(JSON.stringify(found));
    process.exit(0);
  });
