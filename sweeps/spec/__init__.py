"""The specification of a study, and the study file.

- `study_spec`: the study as typed values, with parts in `dimension` and `reference`
- `studyfile`: reads and checks a study file, with `yamlfile`
- `configurations`: lays out the configurations of a study, and chooses searched values
- `schema`: the format of study files, for editors and for the documentation
"""
