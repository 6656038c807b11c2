//! The table by which the interpreter finds the extension modules that an image is linked with.

/// The C source of `faasm_register_extensions`, which adds these modules, given by their dotted names, to those that are built in.
///
/// A module is imported from there under its full name, as a module within a package, too. That it is within one, the interpreter
/// tells those that are loaded from files, and here it has to be told, so that their functions know where they are from and can be
/// pickled.
pub(crate) fn source(modules: &[&str]) -> String {
    let declaration = "int faasm_register_extensions(void);\nint faasm_register_extensions(void)";
    if modules.is_empty() {
        return format!("{declaration} {{ return 0; }}\n");
    }
    let mut text = String::from(
        "#include <Python.h>\n\nextern const char *_PyImport_SwapPackageContext(const char *);\n\n\
         static PyObject *within(const char *name, PyObject *(*initialise)(void)) {\n    \
         const char *outer = _PyImport_SwapPackageContext(name);\n    PyObject *module = initialise();\n    \
         _PyImport_SwapPackageContext(outer);\n    return module;\n}\n\n",
    );
    for (number, module) in modules.iter().enumerate() {
        let symbol = super::build::init_symbol(module);
        // C has no names with dots.
        text += &format!("extern PyObject *init_{number}(void) __asm__(\"{symbol}\");\n");
        text += &format!(
            "static PyObject *start_{number}(void) {{ return within(\"{module}\", init_{number}); }}\n"
        );
    }
    text += "\nstatic struct _inittab modules[] = {\n";
    for (number, module) in modules.iter().enumerate() {
        text += &format!("    {{\"{module}\", start_{number}}},\n");
    }
    text + &format!("    {{0, 0}},\n}};\n\n{declaration} {{ return PyImport_ExtendInittab(modules); }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed_with_their_functions() {
        let text = source(&["a", "b._c"]);
        assert!(text.contains("init_1(void) __asm__(\"PyInit_b._c\")"), "{text}");
        assert!(text.contains("{\"b._c\", start_1},"), "{text}");
        assert!(!source(&[]).contains("Python.h"));
    }
}
