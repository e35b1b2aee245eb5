-- A small hospital, without rows. What its rows hold is written by the test, for each of two worlds.
create type urgency as enum ('low', 'high');
create domain social as text check (value ~ '^[0-9]{3}-[0-9]{2}-[0-9]{4}$');
create type contact as (phone text, mail text);
create table patients (
    id int primary key, mrn text not null, ssn text, name text not null, born date, phone text, tags text[],
    reach contact, code social, doc jsonb, account bigint, urgency urgency, active boolean,
    initials text generated always as (left(name, 1) || '/' || right(ssn, 4)) stored,
    constraint patients_ssn_key unique (ssn), constraint grown check (born < date '2030-01-01'));
create table encounters (
    id int primary key, patient_id int references patients, ward text not null, beds int, started timestamptz);
create table notes (id serial primary key, encounter_id int references encounters, body text);
create table departments (id int primary key, title text not null, floor int, budget numeric);
create table unclassified (id int, remark text);
create table scratch (id int, label text);
create table parted (id int, region text, secret text) partition by list (region);
create table parted_east partition of parted for values in ('east');
create table parted_west partition of parted for values in ('west');
create table people (who text, ssn text);
create table people_abroad (passport text) inherits (people);
create view listing as select id, name, ssn, urgency from patients;
create view shouted as select upper(name) as loud, replace(ssn, '-', '') as bare from listing;
create view safe as select urgency, active from patients;
create view by_ward as select ward, count(*) as n from encounters group by ward;
create view chosen as select urgency from patients where ssn like '9%';
create view listed_by as select urgency from patients order by name limit 1;
create view over_chosen as select urgency from chosen;
create view trusted_choice as select urgency from patients where ssn is not null;
create table capped (id int primary key, lo int, hi int, constraint fits check (lo <= hi));
insert into capped values (1, 1, 4);
create materialized view kept as select id, ssn, name from patients;
create table peeked (id int, label text);
create rule peek as on update to peeked do instead select upper(ssn) as label from patients;
create table rated (id int, eq text, jn text, res text, none text);
create table told (id int, label text);
create table named (id int, label text);
-- Called clean by mistake.
create table memos (id int, body text, doc jsonb, words text[]);

create function first_ssn() returns text language sql stable as 'select ssn from public.patients order by id limit 1';
create function ssn_of(n int) returns text language plpgsql stable as
    'declare found_ssn text; begin select ssn into found_ssn from public.patients where id = n; return found_ssn; end';
create function everybody() returns setof patients language sql stable as 'select * from public.patients';
create function pairs() returns table (a text, b text) language sql stable as 'select name, ssn from public.patients';
create function dynamic(query text) returns setof record language plpgsql as 'begin return query execute query; end';
create function loud(patients) returns text language sql stable as 'select upper($1.ssn)';
create function folded() returns text language sql immutable as 'select min(ssn) from public.patients';
create function tell() returns void language plpgsql as
    'begin raise notice ''%'', (select min(ssn) from public.patients); end';
create function cursor_of() returns refcursor language plpgsql as
    'declare c refcursor := ''kept_open''; begin open c for select ssn from public.patients; return c; end';
create procedure proceed(inout a text) language plpgsql as
    'begin select min(ssn) into a from public.patients; end';
create function alike(text, text) returns boolean language sql immutable as 'select $1 like $2';
create operator ~~~ (leftarg = text, rightarg = text, function = alike);
create function contact_mac(contact) returns macaddr language sql as 'select null::macaddr';
create cast (contact as macaddr) with function contact_mac(contact);

create function told() returns trigger language plpgsql as
    'begin raise exception ''%'', (select min(ssn) from public.patients) using errcode = ''42000'',
     hint = (select min(name) from public.patients), column = (select min(mrn) from public.patients); end';
create trigger tells before insert on told for each row execute function told();
create function noticed() returns trigger language plpgsql as
    'begin raise warning ''%'', (select min(ssn) from public.patients) using errcode = ''42000''; return new; end';
create trigger tells before insert on named for each row execute function noticed();

create schema shadow;
create table shadow.wards (name text, ssn text);
create table wards (name text, ssn text);
create function shadow.initcap(text) returns text language sql stable as 'select min(ssn) from public.patients';
create table "Ünï" ("Sëcret" text);
