//! Random objects whose functions and tables are known.

use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, DataSymbolDefinition, Encode as _, EntityType,
    Function, FunctionSection, ImportSection, Instruction, LinkingSection, MemArg, MemoryType, Module,
    SymbolTable, TypeSection, ValType,
};

use crate::repair::{Signature, layout};

/// A function that stores a sum of its parameters at [`STORED`], and answers it if it has a result.
#[derive(Debug)]
pub(super) struct Generated {
    parameters: usize,
    pub(super) result: bool,
    /// Whether the last parameter is a 64-bit integer, which cannot be passed on.
    odd: bool,
    constant: i32,
}

pub(super) const STORED: u32 = 16;

impl Generated {
    pub(super) fn is_plain(&self) -> bool {
        !self.odd
    }

    pub(super) fn signature(&self) -> Option<Signature> {
        self.is_plain().then_some(Signature { parameters: self.parameters as u32, result: self.result })
    }
}

/// What a function stores when it is called with these arguments, of which there may be too many or too few.
pub(super) fn evaluate(function: &Generated, arguments: &[i32]) -> i32 {
    let arguments = arguments.iter().chain(std::iter::repeat(&0)).take(function.parameters);
    arguments
        .zip(1..)
        .fold(function.constant, |sum, (argument, factor)| sum.wrapping_add(argument.wrapping_mul(factor)))
}

/// A pointer to a function.
#[derive(Debug)]
pub(super) struct Pointer {
    /// Where it is once the object is linked.
    pub(super) address: u32,
    pub(super) function: usize,
    /// What it is called with, if it is in a table.
    pub(super) called_with: Option<Signature>,
}

#[derive(Clone, Copy)]
enum Word {
    Number(u32),
    Function(usize),
    /// The address of a variable.
    Data(usize),
}

/// An object in the making. The variables are linked one after the other, from [`START`] on.
#[derive(Default)]
pub(super) struct Case {
    pub(super) functions: Vec<Generated>,
    pub(super) pointers: Vec<Pointer>,
    variables: Vec<Vec<Word>>,
}

pub(super) const START: u32 = 1024;

impl Case {
    pub(super) fn random(random: &mut fastrand::Rng) -> Self {
        let mut case = Self::default();
        for _ in 0..random.usize(1..12) {
            let parameters = random.usize(0..7);
            case.functions.push(Generated {
                parameters,
                result: random.bool(),
                odd: parameters > 0 && random.u8(0..8) == 0,
                constant: random.i32(..),
            });
        }
        for _ in 0..random.usize(1..6) {
            match random.u8(0..4) {
                0 => case.methods(random),
                1 => case.getters(random),
                2 => case.number_suite(random),
                _ => case.noise(random),
            }
        }
        case
    }

    fn place(&self) -> u32 {
        START + 4 * self.variables.iter().map(Vec::len).sum::<usize>() as u32
    }

    /// A variable with a text, whose number is answered.
    fn text(&mut self, text: [u8; 4]) -> Word {
        self.variables.push(vec![Word::Number(u32::from_le_bytes(text)), Word::Number(0)]);
        Word::Data(self.variables.len() - 1)
    }

    fn function(&mut self, random: &mut fastrand::Rng, address: u32, called_with: Option<Signature>) -> Word {
        let function = random.usize(0..self.functions.len());
        self.pointers.push(Pointer { address, function, called_with });
        Word::Function(function)
    }

    fn methods(&mut self, random: &mut fastrand::Rng) {
        let name = self.text(*b"name");
        let (place, mut words) = (self.place(), Vec::new());
        for _ in 0..random.usize(1..5) {
            let flags = *random.choice(&[0x1, 0x3, 0x4, 0x8, 0x14, 0x80, 0x82, 0x282]).unwrap();
            let function = self.function(random, place + 4 * (words.len() as u32 + 1), layout::method(flags));
            words.extend([name, function, Word::Number(flags), Word::Number(0)]);
        }
        if random.bool() || words.len() > 4 {
            words.extend([Word::Number(0); 4]);
        }
        self.variables.push(words);
    }

    fn getters(&mut self, random: &mut fastrand::Rng) {
        let name = self.text(*b"attr");
        let (place, mut words) = (self.place(), Vec::new());
        for _ in 0..random.usize(1..5) {
            let row = words.len() as u32;
            let getter = self.function(random, place + 4 * (row + 1), Some(layout::GETTER));
            let setter = match random.bool() {
                true => self.function(random, place + 4 * (row + 2), Some(layout::SETTER)),
                false => Word::Number(0),
            };
            words.extend([name, getter, setter, name, Word::Number(random.u32(..))]);
        }
        words.extend([Word::Number(0); 5]);
        self.variables.push(words);
    }

    /// A type with nothing but a suite of functions.
    fn number_suite(&mut self, random: &mut fastrand::Rng) {
        let name = self.text(*b"m.T\0");
        let place = self.place();
        let mut suite = vec![Word::Number(0); 36];
        for (slot, parameters) in [(0, 2), (5, 3), (6, 1), (35, 2)] {
            let called_with = Some(Signature { parameters, result: true });
            suite[slot as usize] = self.function(random, place + 4 * slot, called_with);
        }
        self.variables.push(suite);
        let suite = Word::Data(self.variables.len() - 1);
        let place = self.place();
        let mut words = vec![Word::Number(0); layout::TYPE.len()];
        words[layout::TYPE_NAME] = name;
        words[6] = self.function(random, place + 24, Some(Signature { parameters: 1, result: false }));
        words[12] = suite;
        self.variables.push(words);
    }

    /// Pointers that are in no table of CPython, some of them in something that nearly is one.
    fn noise(&mut self, random: &mut fastrand::Rng) {
        let name = self.text(*b"abs\0");
        let place = self.place();
        let mut words = Vec::new();
        for row in 0..random.u32(1..4) {
            let function = self.function(random, place + 16 * row + 4, None);
            // No combination of flags is 0x7000.
            words.extend([name, function, Word::Number(0x7000), Word::Number(0)]);
        }
        self.variables.push(words);
    }

    pub(super) fn object(&self) -> Vec<u8> {
        let mut module = Module::new();
        let (mut types, mut functions, mut code) =
            (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        let mut symbols = SymbolTable::new();
        for (function, index) in self.functions.iter().zip(0..) {
            let parameter = |place| {
                if function.odd && place + 1 == function.parameters { ValType::I64 } else { ValType::I32 }
            };
            types
                .ty()
                .function((0..function.parameters).map(parameter), function.result.then_some(ValType::I32));
            functions.function(index);
            code.function(&body(function));
            symbols.function(SymbolTable::WASM_SYM_BINDING_LOCAL, index, Some(&format!("f{index}")));
        }
        let mut imports = ImportSection::new();
        let memory =
            MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
        imports.import("env", "__linear_memory", EntityType::Memory(memory));
        module.section(&types).section(&imports).section(&functions).section(&code);

        let (data, relocations) = self.data(&mut symbols);
        module.section(&data);
        let mut linking = LinkingSection::new();
        linking.symbol_table(&symbols);
        module.section(&linking);
        // The data section is the fifth.
        let mut content = vec![4];
        relocations.len().encode(&mut content);
        content.extend(relocations.concat());
        module.section(&CustomSection { name: "reloc.DATA".into(), data: content.into() });
        module.finish()
    }

    /// Each variable in a segment of its own, and the relocations, encoded.
    fn data(&self, symbols: &mut SymbolTable) -> (DataSection, Vec<Vec<u8>>) {
        let (mut data, mut relocations) = (DataSection::new(), Vec::new());
        let mut place = count(self.variables.len()).len();
        for (variable, index) in self.variables.iter().zip(0..) {
            let size = 4 * variable.len() as u32;
            // The kind of the segment, the address, its end, and the size of the content.
            let head = 4 + count(size as usize).len();
            let bytes: Vec<u8> = variable
                .iter()
                .flat_map(|word| if let Word::Number(number) = word { *number } else { 0 }.to_le_bytes())
                .collect();
            data.active(0, &ConstExpr::i32_const(0), bytes);
            for (word, offset) in variable.iter().zip((place + head..).step_by(4)) {
                let mut relocation = Vec::new();
                match *word {
                    Word::Number(_) => continue,
                    Word::Function(function) => {
                        relocation.push(2);
                        offset.encode(&mut relocation);
                        function.encode(&mut relocation);
                    }
                    Word::Data(variable) => {
                        relocation.push(5);
                        offset.encode(&mut relocation);
                        (self.functions.len() + variable).encode(&mut relocation);
                        relocation.push(0);
                    }
                }
                relocations.push(relocation);
            }
            place += head + size as usize;
            let definition = DataSymbolDefinition { index, offset: 0, size };
            symbols.data(SymbolTable::WASM_SYM_BINDING_LOCAL, &format!("v{index}"), Some(definition));
        }
        (data, relocations)
    }
}

fn count(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    bytes
}

fn body(function: &Generated) -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    let sum = function.parameters as u32;
    let mut instructions = vec![Instruction::I32Const(function.constant), Instruction::LocalSet(sum)];
    for parameter in 0..sum {
        instructions.push(Instruction::LocalGet(parameter));
        if function.odd && parameter + 1 == sum {
            instructions.push(Instruction::I32WrapI64);
        }
        instructions.extend([
            Instruction::I32Const(parameter as i32 + 1),
            Instruction::I32Mul,
            Instruction::LocalGet(sum),
            Instruction::I32Add,
            Instruction::LocalSet(sum),
        ]);
    }
    let place = MemArg { offset: 0, align: 2, memory_index: 0 };
    instructions.extend([
        Instruction::I32Const(STORED as i32),
        Instruction::LocalGet(sum),
        Instruction::I32Store(place),
    ]);
    if function.result {
        instructions.push(Instruction::LocalGet(sum));
    }
    instructions.push(Instruction::End);
    for instruction in &instructions {
        body.instruction(instruction);
    }
    body
}
