"""A browser that signs in at the provider of provider.mjs: follows redirects, fills in forms, keeps cookies.

    browser.py START CA USER [STOP]

Prints the status, the address and the body of the last page as JSON. With STOP it ends before an address that begins so.
"""
import http.cookiejar
import json
import re
import ssl
import sys
import html
import urllib.error
import urllib.parse
import urllib.request

start, ca, user = sys.argv[1:4]
stop = sys.argv[4] if len(sys.argv) > 4 else None
PAGES_MAX = 20


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


jar = http.cookiejar.CookieJar()
context = ssl.create_default_context(cafile=ca)
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar), NoRedirect()
)


def ask(url, form=None):
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    try:
        answer = opener.open(urllib.request.Request(url, data=data), timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read().decode()


def form_of(url, body):
    found = re.search(r"<form[^>]*>.*?</form>", body, re.S)
    if not found:
        return None
    text = found.group(0)
    action = re.search(r'action="([^"]*)"', text)
    fields = {}
    for tag in re.findall(r"<input[^>]*>", text):
        name = re.search(r'name="([^"]*)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        if name:
            fields[name.group(1)] = html.unescape(value.group(1)) if value else ""
    if "login" in fields:
        fields["login"], fields["password"] = user, "any"
    return urllib.parse.urljoin(url, html.unescape(action.group(1)) if action else url), fields


def page(status, url, body):
    cookies = {cookie.name: cookie.value for cookie in jar}
    print(json.dumps({"status": status, "url": url, "body": body, "cookies": cookies}))
    sys.exit(0)


url, form = start, None
for _ in range(PAGES_MAX):
    if stop and url.startswith(stop):
        page(0, url, "")
    status, headers, body = ask(url, form)
    form = None
    if status in (301, 302, 303, 307, 308):
        url = urllib.parse.urljoin(url, headers["location"])
        continue
    following = form_of(url, body) if status == 200 else None
    if following is None:
        page(status, url, body)
    url, form = following
print(json.dumps({"status": -1, "url": url, "body": "too many pages", "cookies": {}}))
