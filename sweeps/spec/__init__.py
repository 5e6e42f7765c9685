"""The specification of a study, and how it is read from a study file.

- `study_spec`: the study as typed values; `dimension` and `reference` are parts of it
- `studyfile`: reads and checks a study file, with `yamlfile`
- `configurations`: lays out the configurations of a study, and chooses searched values
- `schema`: the format of study files, for editors and for the documentation
"""
