-- One statement a line. The loader runs a stage on several connections where its name says so.
-- stage: keys, in parallel
alter table departments add primary key (id);
alter table staff add primary key (id);
alter table households add primary key (id);
alter table patients add primary key (id);
alter table care_teams add primary key (patient_id, staff_id);
alter table appointments add primary key (id);
alter table admissions add primary key (id);
alter table encounters add primary key (id);
alter table notes add primary key (id);
alter table results add primary key (id);
alter table prescriptions add primary key (id);
alter table claims add primary key (id);
-- stage: indexes, in parallel
create unique index staff_login on staff (login);
create unique index patients_mrn on patients (mrn);
create unique index patients_ssn on patients (ssn);
create index patients_name on patients (last_name, first_name);
create index patients_household on patients (household_id);
create index patients_employee on patients (employee_staff_id) where employee_staff_id is not null;
create index care_teams_staff on care_teams (staff_id);
create index appointments_patient on appointments (patient_id);
create index appointments_staff on appointments (staff_id, starts_at);
create index admissions_patient on admissions (patient_id);
create index encounters_patient on encounters (patient_id);
create index encounters_staff on encounters (staff_id, started_at);
create index notes_patient on notes (patient_id);
create index notes_encounter on notes (encounter_id);
create index results_patient on results (patient_id);
create index results_encounter on results (encounter_id);
create index prescriptions_patient on prescriptions (patient_id);
create index claims_patient on claims (patient_id);
-- stage: foreign keys, one after another
alter table staff add foreign key (department_id) references departments (id);
alter table patients add foreign key (household_id) references households (id), add foreign key (employee_staff_id) references staff (id);
alter table care_teams add foreign key (patient_id) references patients (id), add foreign key (staff_id) references staff (id);
alter table appointments add foreign key (patient_id) references patients (id), add foreign key (staff_id) references staff (id), add foreign key (department_id) references departments (id);
alter table admissions add foreign key (patient_id) references patients (id), add foreign key (staff_id) references staff (id), add foreign key (department_id) references departments (id);
alter table encounters add foreign key (patient_id) references patients (id), add foreign key (staff_id) references staff (id), add foreign key (department_id) references departments (id), add foreign key (admission_id) references admissions (id), add foreign key (appointment_id) references appointments (id);
alter table notes add foreign key (encounter_id) references encounters (id), add foreign key (patient_id) references patients (id), add foreign key (author_staff_id) references staff (id);
alter table results add foreign key (encounter_id) references encounters (id), add foreign key (patient_id) references patients (id);
alter table prescriptions add foreign key (encounter_id) references encounters (id), add foreign key (patient_id) references patients (id), add foreign key (staff_id) references staff (id);
alter table claims add foreign key (encounter_id) references encounters (id), add foreign key (patient_id) references patients (id);
-- stage: statistics, one after another
analyze;
