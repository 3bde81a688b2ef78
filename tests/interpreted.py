"""What Spark is told where the frames are tiny: to interpret expressions, since to generate Java code for them and to compile it takes longer than to run it.

The tests of this folder do so; chapters, and commands that a test starts, generate code as Spark does by itself."""
OPTIONS = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
