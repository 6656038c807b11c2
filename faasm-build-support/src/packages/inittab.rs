//! The table by which the interpreter finds the extension modules that an image is linked with.

/// An extension module.
pub(crate) struct Module<'a> {
    /// Its dotted name.
    pub(crate) name: &'a str,
    /// How many functions have to run before it is imported for the first time, which are called as [`constructor_symbol`] says.
    pub(crate) constructors: usize,
}

/// The name of a function that has to run before a module is imported for the first time.
pub(crate) fn constructor_symbol(module: &str, number: usize) -> String {
    format!("constructor_{number}.{module}")
}

/// The C source of `faasm_register_extensions`, which adds these modules to those that are built in.
///
/// A module is imported from there under its full name, as a module within a package, too. That it is within one, the interpreter
/// tells those that are loaded from files, and here it has to be told, so that their functions know where they are from and can be
/// pickled.
pub(crate) fn source(modules: &[Module<'_>]) -> String {
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
    for (number, Module { name, constructors }) in modules.iter().enumerate() {
        let symbol = super::build::init_symbol(name);
        // C has no names with dots.
        text += &format!("extern PyObject *init_{number}(void) __asm__(\"{symbol}\");\n");
        let mut construct = String::new();
        for constructor in 0..*constructors {
            let symbol = constructor_symbol(name, constructor);
            text += &format!("extern void construct_{number}_{constructor}(void) __asm__(\"{symbol}\");\n");
            construct += &format!("        construct_{number}_{constructor}();\n");
        }
        text += &format!("static PyObject *start_{number}(void) {{\n");
        if !construct.is_empty() {
            text += &format!(
                "    static int constructed;\n    if (!constructed) {{\n        constructed = 1;\n{construct}    }}\n"
            );
        }
        text += &format!("    return within(\"{name}\", init_{number});\n}}\n");
    }
    text += "\nstatic struct _inittab modules[] = {\n";
    for (number, Module { name, .. }) in modules.iter().enumerate() {
        text += &format!("    {{\"{name}\", start_{number}}},\n");
    }
    text + &format!("    {{0, 0}},\n}};\n\n{declaration} {{ return PyImport_ExtendInittab(modules); }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed_with_their_functions() {
        let text = source(&[Module { name: "a", constructors: 0 }, Module { name: "b._c", constructors: 2 }]);
        assert!(text.contains("init_1(void) __asm__(\"PyInit_b._c\")"), "{text}");
        assert!(text.contains("{\"b._c\", start_1},"), "{text}");
        assert!(text.contains("construct_1_1(void) __asm__(\"constructor_1.b._c\")"), "{text}");
        assert!(text.contains("construct_1_0();\n        construct_1_1();\n"), "{text}");
        assert!(!text.contains("construct_0"), "{text}");
        assert!(!source(&[]).contains("Python.h"));
    }
}
