-- Tables only. Keys, foreign keys and indexes come after the load: see constraints.sql.
create table departments (
    id          int  not null,
    code        text not null,
    name        text not null,
    kind        text not null,
    building    text not null,
    floor       int  not null,
    phone       text not null
);
create table staff (
    id            int  not null,
    department_id int  not null,
    role          text not null,
    login         text not null,
    first_name    text not null,
    last_name     text not null,
    email         text not null,
    phone         text not null,
    hired_on      date not null,
    left_on       date
);
create table households (
    id     bigint not null,
    street text   not null,
    unit   text,
    city   text   not null,
    state  char(2) not null,
    zip    char(5) not null,
    phone  text
);
create table patients (
    id                bigint not null,
    mrn               text   not null,
    ssn               text,
    first_name        text   not null,
    last_name         text   not null,
    birth_date        date   not null,
    sex               char(1) not null,
    phone             text,
    email             text,
    household_id      bigint not null,
    employee_staff_id int,
    deceased_on       date
);
create table care_teams (
    patient_id bigint not null,
    staff_id   int    not null,
    role       text   not null,
    since      date   not null,
    until      date
);
create table appointments (
    id            bigint not null,
    patient_id    bigint not null,
    staff_id      int    not null,
    department_id int    not null,
    starts_at     timestamptz not null,
    minutes       int    not null,
    status        text   not null,
    reason        text   not null
);
create table admissions (
    id            bigint not null,
    patient_id    bigint not null,
    department_id int    not null,
    staff_id      int    not null,
    room          text   not null,
    admitted_at   timestamptz not null,
    discharged_at timestamptz,
    reason        text   not null,
    disposition   text
);
create table encounters (
    id             bigint not null,
    patient_id     bigint not null,
    staff_id       int    not null,
    department_id  int    not null,
    admission_id   bigint,
    appointment_id bigint,
    type           text   not null,
    started_at     timestamptz not null,
    ended_at       timestamptz
);
create table notes (
    id              bigint not null,
    encounter_id    bigint not null,
    patient_id      bigint not null,
    author_staff_id int    not null,
    written_at      timestamptz not null,
    kind            text   not null,
    body            text   not null
);
create table results (
    id           bigint not null,
    encounter_id bigint not null,
    patient_id   bigint not null,
    code         text   not null,
    name         text   not null,
    value        numeric(10,3) not null,
    unit         text   not null,
    flag         char(1),
    taken_at     timestamptz not null
);
create table prescriptions (
    id           bigint not null,
    encounter_id bigint not null,
    patient_id   bigint not null,
    staff_id     int    not null,
    drug         text   not null,
    dose         text   not null,
    route        text   not null,
    directions   text   not null,
    quantity     int    not null,
    refills      int    not null,
    written_on   date   not null
);
create table claims (
    id           bigint not null,
    encounter_id bigint not null,
    patient_id   bigint not null,
    payer        text   not null,
    member_id    text   not null,
    billed       numeric(10,2) not null,
    paid         numeric(10,2),
    status       text   not null,
    submitted_on date   not null
);
